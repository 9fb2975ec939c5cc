package mail_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

// traced sends a message and returns the steps that were told.
func traced(t *testing.T, server *mailtest.Server, change func(*mail.SMTPConfig)) (steps []mail.Step, err error) {
	t.Helper()
	s := client(t, server, func(c *mail.SMTPConfig) {
		c.Trace = func(step mail.Step) { steps = append(steps, step) }
		if change != nil {
			change(c)
		}
	})
	err = s.Send(t.Context(), message())
	return steps, err
}

func names(steps []mail.Step) []string {
	var list []string
	for _, step := range steps {
		list = append(list, step.Name)
	}
	return list
}

func TestTraceOfSuccess(t *testing.T) {
	for name, test := range map[string]struct {
		server mailtest.ServerConfig
		client func(*mail.SMTPConfig)
		want   []string
	}{
		"starttls": {
			mailtest.ServerConfig{}, nil,
			[]string{"connect", "greeting", "EHLO", "STARTTLS", "MAIL FROM", "RCPT TO", "DATA", "accepted"}},
		"ssl and a password": {
			mailtest.ServerConfig{ImplicitTLS: true, Username: "robot", Password: thePassword},
			func(c *mail.SMTPConfig) { withSSL(c); withPassword(c) },
			[]string{"connect", "TLS", "greeting", "EHLO", "AUTH", "MAIL FROM", "RCPT TO", "DATA", "accepted"}},
		"in clear": {
			mailtest.ServerConfig{}, func(c *mail.SMTPConfig) { c.InsecurePlaintext = true },
			[]string{"connect", "greeting", "EHLO", "MAIL FROM", "RCPT TO", "DATA", "accepted"}},
	} {
		t.Run(name, func(t *testing.T) {
			steps, err := traced(t, mailtest.NewServer(t, test.server), test.client)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, names(steps)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, step := range steps {
				if step.Err != nil || step.Advice != "" {
					t.Errorf("%s: %v, %q", step.Name, step.Err, step.Advice)
				}
			}
			quiet(t, fmt.Sprint(steps))
			if last := steps[len(steps)-1].Detail; last != "2.0.0 queued" {
				t.Errorf("the mail was accepted with %q", last)
			}
		})
	}
}

func TestTraceTakesTheTime(t *testing.T) {
	var now time.Time
	steps, err := traced(t, mailtest.NewServer(t, mailtest.ServerConfig{}), func(c *mail.SMTPConfig) {
		c.Now = func() time.Time { now = now.Add(time.Second); return now }
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if step.Took != time.Second {
			t.Errorf("%s took %s", step.Name, step.Took)
		}
	}
}

// A traceRow is a mail server that does not take the mail.
type traceRow struct {
	name               string
	server             mailtest.ServerConfig
	step               string // that the fault is at
	fault              mailtest.Fault
	client             func(*mail.SMTPConfig)
	failed, err, doing string // the step, what is in its error and in its advice
}

// impatient is long enough for a busy machine to connect in.
func impatient(c *mail.SMTPConfig) { c.StepTimeout = time.Second }

func both(changes ...func(*mail.SMTPConfig)) func(*mail.SMTPConfig) {
	return func(c *mail.SMTPConfig) {
		for _, change := range changes {
			change(c)
		}
	}
}

func replies(text string) mailtest.Fault { return mailtest.Fault{Reply: text} }

var (
	withAccount = mailtest.ServerConfig{Username: "robot", Password: thePassword}
	onSSL       = mailtest.ServerConfig{ImplicitTLS: true}
)

// securityFaults are about how the server is reached and how TLS begins.
var securityFaults = []traceRow{
	{name: "no time to connect", client: func(c *mail.SMTPConfig) { c.StepTimeout = 1 }, failed: "connect", err: "timeout", doing: "does not answer: many hosting providers block ports of mail"},
	{name: "ssl to a port in clear", client: withSSL, failed: "TLS", err: "does not look like a TLS handshake", doing: "speaks without TLS first on port"},
	{name: "starttls to a port of TLS", server: onSSL, client: impatient, failed: "greeting", err: "timeout", doing: "it may want TLS at once, so use security: ssl"},
	{name: "starttls to a port that hangs up", step: mailtest.OnConnect, fault: mailtest.Fault{Cut: true}, failed: "greeting", err: "EOF", doing: "it may want TLS at once, so use security: ssl"},
	{name: "ssl to a port that says nothing", server: onSSL, step: mailtest.OnTLS, fault: mailtest.Fault{Hang: true}, client: both(withSSL, impatient), failed: "TLS", err: "timeout", doing: "use security: starttls"},
	{name: "silent in clear", step: mailtest.OnConnect, fault: mailtest.Fault{Hang: true}, client: both(impatient, func(c *mail.SMTPConfig) { c.InsecurePlaintext = true }), failed: "greeting", err: "timeout", doing: "firewall"},
	{name: "wrong name", server: mailtest.ServerConfig{Certificate: mailtest.WrongName}, failed: "STARTTLS", err: "127.0.0.1", doing: "The certificate is for elsewhere.example and not for 127.0.0.1"},
	{name: "wrong name, ssl", server: mailtest.ServerConfig{Certificate: mailtest.WrongName, ImplicitTLS: true}, client: withSSL, failed: "TLS", err: "127.0.0.1", doing: "write in mail.host a name that it is for"},
	{name: "expired", server: mailtest.ServerConfig{Certificate: mailtest.Expired}, failed: "STARTTLS", err: "expired", doing: "whoever runs the server has to renew it"},
	{name: "not in the file", server: mailtest.ServerConfig{Certificate: mailtest.SelfSigned}, failed: "STARTTLS", err: "unknown authority", doing: "not in the file that mail.ca_file names"},
	{name: "unknown authority", client: func(c *mail.SMTPConfig) { c.RootCAs = nil }, failed: "STARTTLS", err: "certificate", doing: "name a PEM file with it in mail.ca_file"},
	{name: "TLS 1.0", server: mailtest.ServerConfig{MaxTLS: tls.VersionTLS10}, failed: "STARTTLS", err: "protocol version", doing: "no version of TLS in common"},
	{name: "no STARTTLS", server: mailtest.ServerConfig{NoSTARTTLS: true}, failed: "STARTTLS", err: "does not offer STARTTLS", doing: "Nothing is sent without TLS"},
	{name: "STARTTLS not now", step: "STARTTLS", fault: replies("454 4.7.0 not now"), failed: "STARTTLS", err: "it answered 454 4.7.0 not now", doing: "cannot do TLS just now"},
	{name: "no TLS after STARTTLS", step: mailtest.OnTLS, fault: replies("250 go on in clear"), failed: "STARTTLS", err: "TLS", doing: "agreed to TLS and then did not speak it"},
	{name: "cut after STARTTLS", step: mailtest.OnTLS, fault: mailtest.Fault{Cut: true}, failed: "STARTTLS", err: "EOF", doing: "ended the conversation"},
}

// replyFaults are about what the server says.
var replyFaults = []traceRow{
	{name: "blocked", step: mailtest.OnConnect, fault: replies("554 5.7.1 your address is listed"), failed: "greeting", err: "554 5.7.1 your address is listed", doing: "may be on a block list"},
	{name: "no mail server", step: mailtest.OnConnect, fault: replies("HTTP/1.1 400 Bad Request"), failed: "greeting", err: "not SMTP", doing: "is no mail server"},
	{name: "who are you", step: "EHLO", fault: mailtest.Fault{Reply: "550 5.7.1 helo", Cut: true}, failed: "EHLO", err: "it answered 550 5.7.1 helo", doing: "the domain of mail.from"},
	{name: "busy", step: "EHLO", fault: mailtest.Fault{Reply: "421 4.3.2 busy", Cut: true}, failed: "EHLO", err: "it answered 421 4.3.2 busy", doing: "has no time for us"},
	{name: "password", server: withAccount, client: both(withPassword, func(c *mail.SMTPConfig) { c.Password = "wrong" }), failed: "AUTH", err: "it answered 535 5.7.8", doing: "refuses mail.username or mail.password: check both; many senders want an app password"},
	{name: "no mechanism", server: mailtest.ServerConfig{Username: "robot", Password: thePassword, Mechanisms: "GSSAPI"}, client: withPassword, failed: "AUTH", err: "neither AUTH PLAIN nor LOGIN", doing: "takes no password here"},
	{name: "password later", server: withAccount, step: "AUTH", fault: replies("454 4.7.0 too many"), client: withPassword, failed: "AUTH", err: "it answered 454 4.7.0", doing: "does not check passwords just now"},
	{name: "sign in first", server: withAccount, failed: "MAIL FROM", err: "530", doing: "set mail.username and mail.password"},
	{name: "sender", step: "MAIL", fault: replies("553 5.7.1 not yours"), failed: "MAIL FROM", err: "553 5.7.1 not yours", doing: "not let us send as no-reply@mail.example: mail.from has to be the mailbox of mail.username"},
	{name: "sender later", step: "MAIL", fault: replies("452 4.5.3 quota"), failed: "MAIL FROM", err: "452", doing: "a limit of the day"},
	{name: "greylisting", step: "RCPT", fault: replies("451 4.7.1 come back"), failed: "RCPT TO", err: "451 4.7.1 come back", doing: "(greylisting): wait some minutes"},
	{name: "recipient, nobody signed in", step: "RCPT", fault: replies("550 5.7.1 relay denied"), failed: "RCPT TO", err: "550 5.7.1", doing: "only for those who sign in"},
	{name: "recipient", server: withAccount, client: withPassword, step: "RCPT", fault: replies("550 5.1.1 nobody"), failed: "RCPT TO", err: "550 5.1.1 nobody", doing: "look for a slip in the address, or try another one"},
	{name: "no content", step: "DATA", fault: replies("554 5.7.1 no"), failed: "DATA", err: "554", doing: "spam"},
	{name: "spam", step: mailtest.OnContent, fault: replies("554 5.7.1 DT:SPM"), failed: "accepted", err: "554 5.7.1 DT:SPM", doing: "SPF and DKIM"},
	{name: "content later", step: mailtest.OnContent, fault: replies("451 4.7.1 later"), failed: "accepted", err: "451", doing: "greylisting"},
	{name: "cut", step: mailtest.OnContent, fault: mailtest.Fault{Cut: true}, failed: "accepted", err: "EOF", doing: "ended the conversation"},
}

func TestTraceSaysWhatToDo(t *testing.T) {
	for _, test := range append(securityFaults, replyFaults...) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // some wait for a timeout
			server := mailtest.NewServer(t, test.server)
			server.Fault(test.step, test.fault)
			steps, err := traced(t, server, test.client)
			if err == nil {
				t.Fatal("the mail was sent")
			}
			for _, step := range steps[:len(steps)-1] {
				if step.Err != nil {
					t.Errorf("%s failed too: %v", step.Name, step.Err)
				}
			}
			last := steps[len(steps)-1]
			if last.Name != test.failed || last.Err == nil || last.Detail != "" {
				t.Fatalf("%+v is the last step, want %s failed", last, test.failed)
			}
			if !strings.Contains(last.Err.Error(), test.err) {
				t.Errorf("err %q, want %q in it", last.Err, test.err)
			}
			if !strings.Contains(last.Advice, test.doing) {
				t.Errorf("advice %q, want %q in it", last.Advice, test.doing)
			}
			quiet(t, fmt.Sprint(steps))
		})
	}
}

func TestTraceOfNobody(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	address := closed.Addr().(*net.TCPAddr)
	steps, err := traced(t, &mailtest.Server{Host: "127.0.0.1", Port: address.Port, RootCAs: x509.NewCertPool()}, nil)
	if err == nil || len(steps) != 1 || !strings.Contains(steps[0].Advice, "Nothing answers on port") {
		t.Errorf("%v, %+v", err, steps)
	}
}

// A server may say what it was told, at once or later, and in as many lines as it
// likes.
func TestTraceRepeatsNoPassword(t *testing.T) {
	for _, step := range []string{"AUTH", "MAIL", "RCPT", mailtest.OnContent} {
		for _, form := range append(encodedPasswords, "robot "+thePassword) {
			for _, code := range []string{"250", "451", "550"} {
				server := mailtest.NewServer(t, withAccount)
				server.Fault(step, mailtest.Fault{Reply: code + "-you said\r\n" + code + " \x1b[31m" + form})
				steps, _ := traced(t, server, withPassword)
				text := fmt.Sprint(steps)
				for _, secret := range encodedPasswords {
					if strings.Contains(text, secret) {
						t.Errorf("%s, %s: %q is in %s", step, code, secret, text)
					}
				}
				if strings.ContainsAny(text, "\r\n\x1b") {
					t.Errorf("%s, %s: %q is not one line", step, code, text)
				}
			}
		}
	}
}

// The answer to a password may also be a part of it.
func TestTraceHasNoWordsAboutThePassword(t *testing.T) {
	for _, code := range []string{"235", "454", "535"} {
		server := mailtest.NewServer(t, withAccount)
		server.Fault("AUTH", replies(code+" 5.7.8 "+thePassword[:10]))
		steps, _ := traced(t, server, withPassword)
		if text := fmt.Sprint(steps); strings.Contains(text, thePassword[:10]) {
			t.Errorf("%s: a part of the password is in %s", code, text)
		}
	}
}

func TestTraceIsShort(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	server.Fault("MAIL", replies("550 "+strings.Repeat("x", 1000)))
	steps, _ := traced(t, server, nil)
	if text := steps[len(steps)-1].Err.Error(); len(text) > 250 || !strings.HasSuffix(text, "x…") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}
