package mail

import (
	"bytes"
	"crypto/rand"
	"fmt"
	netmail "net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
)

// Limits of a message. The longest line is RFC 5321 section 4.5.3.1.6 without
// its CRLF.
const (
	maxSubject   = 500
	maxMessageID = 200
	maxLang      = 35 // RFC 5646 section 4.4.1
	maxBody      = 256 << 10
	maxLine      = 998
)

// An envelope is a message as it goes over the wire.
type envelope struct {
	from, to string
	content  []byte // headers and body, lines ending in CRLF
}

// render checks every field of m and writes it as MIME. Whatever it refuses wraps
// ErrRejected and would be refused again.
func (s *SMTP) render(m Message) (envelope, error) {
	to, err := m.check()
	if err != nil {
		return envelope{}, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	id := m.MessageID
	if id == "" {
		_, domain, _ := strings.Cut(s.from.Address, "@")
		id = strings.ToLower(rand.Text()) + "@" + domain
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&s.from)
	msg.ToMailAddress(&netmail.Address{Address: to.String()})
	msg.Subject(m.Subject)
	msg.SetDateWithValue(s.now())
	msg.SetMessageIDWithValue(id)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody is away from this desk
	if m.Lang != "" {
		msg.SetGenHeader("Content-Language", m.Lang)
	}
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return envelope{}, fmt.Errorf("%w: it cannot be written as MIME: %w", ErrRejected, err)
	}
	if err := checkLines(b.Bytes()); err != nil {
		return envelope{}, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	return envelope{from: s.from.Address, to: to.String(), content: b.Bytes()}, nil
}

// check refuses what could end a header early, hide a second recipient or show
// the reader something else than was meant. Its errors name fields, not contents.
func (m Message) check() (Address, error) {
	to, err := ParseAddress(m.To)
	if err != nil {
		return Address{}, fmt.Errorf("the recipient: %w", err)
	}
	switch {
	case m.Subject == "" || len(m.Subject) > maxSubject || !printable(m.Subject):
		return Address{}, fmt.Errorf("the subject is empty, longer than %d bytes or not one line of text", maxSubject)
	case m.MessageID != "" && !messageID(m.MessageID):
		return Address{}, fmt.Errorf("the message id is not unique@domain of at most %d bytes", maxMessageID)
	case len(m.Lang) > maxLang || strings.Trim(m.Lang, letters+digits+"-") != "":
		return Address{}, fmt.Errorf("the language is not a language tag")
	case strings.TrimSpace(m.Text) == "":
		return Address{}, fmt.Errorf("the text is empty")
	case !body(m.Text) || !body(m.HTML):
		return Address{}, fmt.Errorf("the content is longer than %d bytes or not text", maxBody)
	}
	return to, nil
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// printable reports whether s is one line of characters that show as themselves.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}) < 0
}

// body reports whether s can be the content of a part.
func body(s string) bool {
	return len(s) <= maxBody && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return unicode.Is(unicode.Cc, r) && r != '\n' && r != '\r' && r != '\t'
	}) < 0
}

// messageID reports whether s is two dot-atoms (RFC 5322 section 3.6.4).
func messageID(s string) bool {
	left, right, found := strings.Cut(s, "@")
	const atom = letters + digits + ".!#$%&'*+-/=?^_`{|}~"
	return found && left != "" && right != "" && len(s) <= maxMessageID &&
		strings.Trim(left, atom) == "" && strings.Trim(right, atom) == ""
}

// checkLines is the last look at what was rendered: short lines that end in CRLF,
// and no other CR or LF.
func checkLines(content []byte) error {
	for line := range bytes.SplitSeq(bytes.TrimSuffix(content, []byte("\r\n")), []byte("\r\n")) {
		if len(line) > maxLine || bytes.ContainsAny(line, "\r\n\x00") {
			return fmt.Errorf("a line is longer than %d bytes or has a control character", maxLine)
		}
	}
	return nil
}
