package mail

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail/smtp"
)

// The steps of a conversation, in the order in which they are taken.
const (
	StepConnect   = "connect"   // the name is looked up, the port reached
	StepTLS       = "TLS"       // at once, with SecuritySSL
	StepGreeting  = "greeting"  // the server says who it is
	StepHello     = "EHLO"      // we do, and hear what it offers
	StepStartTLS  = "STARTTLS"  // with SecuritySTARTTLS
	StepSignIn    = "AUTH"      // with a Username
	StepSender    = "MAIL FROM" // who the mail is from
	StepRecipient = "RCPT TO"   // and to whom
	StepData      = "DATA"      // whether it wants the content
	StepAccepted  = "accepted"  // whether it takes the mail
)

// A Step is what came of one step of a conversation, for whoever tries out a mail
// server.
type Step struct {
	// Name is one of the Step… constants.
	Name string

	// Detail is what is worth knowing when all went well: an address, a TLS version, an
	// answer. It may be empty.
	Detail string

	// Took is how long it took.
	Took time.Duration

	// Err is why it failed, nil if it did not. A conversation ends with its first
	// failure.
	Err error

	// Advice says in a sentence what to do about Err, in the words of the
	// configuration file.
	Advice string
}

// step takes one step of the conversation and tells the Trace what came of it.
func (s *SMTP) step(name string, take func() (detail string, err error)) error {
	if s.config.Trace == nil {
		_, err := take()
		return err
	}
	began := s.now()
	detail, err := take()
	step := Step{Name: name, Detail: s.shown(detail), Took: s.now().Sub(began)}
	if err != nil {
		step.Detail, step.Err, step.Advice = "", s.told(name, err), s.advise(name, err)
	}
	s.config.Trace(step)
	return err
}

// told returns err as a Trace may hear it. It is more than Send returns: whoever tries
// out a server wants its words. In answer to a password they are left out.
func (s *SMTP) told(name string, err error) error {
	var reply *textproto.Error
	switch {
	case !errors.As(err, &reply):
		return errors.New(s.shown(quiet(err).Error()))
	case name == StepSignIn:
		return fmt.Errorf("it answered %s", numbers(reply))
	default:
		return fmt.Errorf("it answered %s", s.shown(strconv.Itoa(reply.Code)+" "+reply.Msg))
	}
}

// maxShown is how much of what a server says is shown, in characters.
const maxShown = 200

// shown returns a text that a server may have written as one short line, without what
// we told it to sign in: it may say that again at any step.
func (s *SMTP) shown(text string) string {
	if user, password := s.config.Username, s.password(); password != "" {
		var forms []string
		for _, payload := range []string{"\x00" + user + "\x00" + password, password, user} {
			forms = append(forms, base64.StdEncoding.EncodeToString([]byte(payload)), "***")
		}
		text = strings.NewReplacer(append(forms, password, "***")...).Replace(text)
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return ' '
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxShown {
		text = string(runes[:maxShown]) + "…"
	}
	return text
}

// secured describes the TLS under a conversation.
func (s *SMTP) secured(state tls.ConnectionState) string {
	text := tls.VersionName(state.Version)
	if len(state.PeerCertificates) > 0 {
		c := state.PeerCertificates[0]
		text += fmt.Sprintf(", certificate for %s, valid until %s", certified(c, s.config.Host), c.NotAfter.UTC().Format(time.DateOnly))
	}
	return text
}

// certified returns the names that a certificate is for, the one we asked for first.
func certified(c *x509.Certificate, host string) string {
	var names []string
	if c.VerifyHostname(host) == nil {
		names = append(names, host)
	}
	for _, name := range c.DNSNames {
		if name != host {
			names = append(names, name)
		}
	}
	for _, ip := range c.IPAddresses {
		if ip.String() != host {
			names = append(names, ip.String())
		}
	}
	const most = 3
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	if len(names) == 0 {
		return "no name at all"
	}
	return strings.Join(names, ", ")
}

// offers lists what of a server's extensions matters to us.
func offers(client *smtp.Client) string {
	var list []string
	for _, name := range []string{"STARTTLS", "AUTH"} {
		if offered, params := client.Extension(name); offered {
			list = append(list, strings.TrimSpace(name+" "+params))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "it offers " + strings.Join(list, ", ")
}
