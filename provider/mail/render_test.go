package mail_test

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

// parsed is a mail as a strict reader sees it.
type parsed struct {
	header     netmail.Header
	text, html string
}

// read parses what came over the wire, undoing the dot-stuffing.
func read(t *testing.T, raw []byte) parsed {
	t.Helper()
	checkWire(t, raw)
	plain := bytes.ReplaceAll(raw, []byte("\r\n.."), []byte("\r\n."))
	m, err := netmail.ReadMessage(bytes.NewReader(plain))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("Content-Type %q, %v", m.Header.Get("Content-Type"), err)
	}
	p := parsed{header: m.Header}
	parts := multipart.NewReader(m.Body, params["boundary"])
	p.text = part(t, parts, "text/plain")
	p.html = part(t, parts, "text/html")
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("after the HTML: %v; want the end", err)
	}
	if rest, _ := io.ReadAll(m.Body); len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("behind the last part: %q", rest)
	}
	return p
}

func part(t *testing.T, parts *multipart.Reader, want string) string {
	t.Helper()
	p, err := parts.NextRawPart()
	if err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	kind, params, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
	if err != nil || kind != want || !strings.EqualFold(params["charset"], "utf-8") {
		t.Errorf("a part is %q, %v; want %s in UTF-8", p.Header.Get("Content-Type"), err, want)
	}
	if encoding := p.Header.Get("Content-Transfer-Encoding"); encoding != "quoted-printable" {
		t.Errorf("%s is encoded as %q", want, encoding)
	}
	content, err := io.ReadAll(quotedprintable.NewReader(p))
	if err != nil {
		t.Errorf("%s: %v", want, err)
	}
	return strings.ReplaceAll(string(content), "\r\n", "\n")
}

// checkWire checks the lines: ASCII, at most 998 octets in a header and 78 in a
// body, CRLF and no other CR or LF.
func checkWire(t *testing.T, raw []byte) {
	t.Helper()
	header, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	for limit, block := range map[int][]byte{998: header, 78: body} {
		for line := range bytes.SplitSeq(block, []byte("\r\n")) {
			if len(line) > limit || bytes.ContainsAny(line, "\r\n\x00") {
				t.Errorf("a line of %d bytes: %q", len(line), line)
			}
			if bytes.ContainsFunc(line, func(r rune) bool { return r > 126 }) {
				t.Errorf("not ASCII: %q", line)
			}
		}
	}
}

// names returns the names of all header fields, sorted.
func (p parsed) names() []string {
	var names []string
	for name, values := range p.header {
		for range values {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// allHeaders are the fields of every mail, no more and no fewer.
var allHeaders = []string{
	"Auto-Submitted", "Content-Language", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To",
}

// deliver sends m to a server and returns what arrived.
func deliver(t *testing.T, server *mailtest.Server, s *mail.SMTP, m mail.Message) parsed {
	t.Helper()
	before := len(server.Mails())
	if err := s.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	mails := server.Mails()[before:]
	if len(mails) != 1 {
		t.Fatalf("%d mails; want 1", len(mails))
	}
	return read(t, mails[0].Raw)
}

func TestEM12Form(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	now := time.Date(2026, 11, 22, 14, 50, 1, 0, time.UTC)
	s := client(t, server, func(c *mail.SMTPConfig) {
		c.From = "Bücher & Co. <No-Reply@Mail.example>"
		c.Now = func() time.Time { return now }
	})
	m := message()
	m.Subject = "Ihr Code für " + strings.Repeat("längere Wörter ", 10)
	m.Text = "Grüße\n" + strings.Repeat("x", 3000) + "\n\n" + theCode + "\n"
	p := deliver(t, server, s, m)

	if got := p.names(); !slices.Equal(got, allHeaders) {
		t.Errorf("header %q; want %q", got, allHeaders)
	}
	if date, err := p.header.Date(); err != nil || !date.Equal(now) {
		t.Errorf("Date %v, %v; want %v", date, err, now)
	}
	for name, want := range map[string]string{
		"Message-Id":       "<m1@mail.example>",
		"Auto-Submitted":   "auto-generated",
		"Content-Language": "en",
		"To":               "<kim@example.com>",
		"Mime-Version":     "1.0",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
	from, err := p.header.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Name != "Bücher & Co." || from[0].Address != "No-Reply@mail.example" {
		t.Errorf("From: %v, %v", from, err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(p.header.Get("Subject"))
	if err != nil || subject != m.Subject {
		t.Errorf("Subject: %q, %v; want %q", subject, err, m.Subject)
	}
	if p.text != m.Text || p.html != m.HTML {
		t.Errorf("the content is %q and %q", p.text, p.html)
	}
}

func TestEM12MessageIDIsDrawnIfAbsent(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	s := client(t, server, nil)
	m := message()
	m.MessageID = ""
	first, second := deliver(t, server, s, m).header.Get("Message-Id"), deliver(t, server, s, m).header.Get("Message-Id")
	if first == second || !strings.HasSuffix(first, "@mail.example>") || strings.Contains(first, theCode) {
		t.Errorf("message ids %q and %q", first, second)
	}
}

// EC-32: no field can end its line, and nothing is sent of a message that tries.
func TestEC32HeaderInjection(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	s := client(t, server, nil)
	fields := map[string]func(*mail.Message, string){
		"To":        func(m *mail.Message, s string) { m.To += s },
		"Subject":   func(m *mail.Message, s string) { m.Subject += s },
		"MessageID": func(m *mail.Message, s string) { m.MessageID += s },
		"Lang":      func(m *mail.Message, s string) { m.Lang += s },
	}
	for _, attack := range []string{"\r\nBcc: x@evil.com", "\nBcc: x@evil.com", "\rBcc: x@evil.com", "\u2028x", "\u0085x", "\x00", "\u202Ex", "\xff"} {
		for field, set := range fields {
			m := message()
			set(&m, attack)
			if err := s.Send(t.Context(), m); !errors.Is(err, mail.ErrRejected) {
				t.Errorf("%q in %s: %v; want ErrRejected", attack, field, err)
			}
		}
	}
	for _, m := range []mail.Message{
		{}, {To: "kim@example.com"}, {To: "kim@example.com", Subject: "x"},
		{To: "kim@example.com", Subject: "x", Text: "a\x00b"}, {To: "kim@example.com", Subject: "x", Text: "\xff"},
		{To: "kim@example.com, eve@example.com", Subject: "x", Text: "x"},
		{To: `"v@good.com> ORCPT=x"@evil.com`, Subject: "x", Text: "x"},
		{To: "kim@example.com", Subject: "x", Text: strings.Repeat("x", 1<<20)},
		{To: "kim@example.com", Subject: strings.Repeat("x", 1000), Text: "x"},
	} {
		if err := s.Send(t.Context(), m); !errors.Is(err, mail.ErrRejected) {
			t.Errorf("%.80q: %v; want ErrRejected", m, err)
		}
	}
	if n := len(server.Conversations()); n != 0 {
		t.Errorf("%d conversations; want none", n)
	}
}

// EC-32: what only looks like an injection arrives as the text it is.
func TestEC32HarmlessLookalikes(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	s := client(t, server, nil)
	for _, subject := range []string{"%0d%0aBcc: x@evil.com", `\r\nBcc: x`, "=?utf-8?q?a=0D=0ABcc:_x?=", "a: b", "<x@evil.com>", strings.Repeat("y", 200)} {
		m := message()
		m.Subject = subject
		p := deliver(t, server, s, m)
		if got := p.names(); !slices.Equal(got, allHeaders) {
			t.Errorf("subject %q: header %q", subject, got)
		}
		if got := p.header.Get("Subject"); got != subject {
			t.Errorf("subject %q arrived as %q", subject, got)
		}
	}
}

func TestEC34EndOfDataSmuggling(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	s := client(t, server, nil)
	for _, end := range []string{"\n.\n", "\r\n.\r\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\n..\n"} {
		m := message()
		m.Text = "a" + end + "MAIL FROM:<x@evil.com>" + end + "b"
		m.HTML = "<p>a" + end + "RCPT TO:<x@evil.com>" + end + "b"
		p := deliver(t, server, s, m)
		if !strings.HasSuffix(p.text, "b") || !strings.HasSuffix(p.html, "b") {
			t.Errorf("%q cut the mail: %q, %q", end, p.text, p.html)
		}
	}
	for _, c := range server.Conversations() {
		if got := len(c.Commands); got != 6 { // EHLO STARTTLS EHLO MAIL RCPT DATA, perhaps QUIT
			if got != 7 || c.Commands[6] != "QUIT" {
				t.Errorf("commands %q", c.Commands)
			}
		}
	}
}
