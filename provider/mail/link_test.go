package mail_test

import (
	"html"
	"mime"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

func linkMail() mail.LinkMail {
	return mail.LinkMail{
		To: "kim@example.com", MessageID: "m1@mail.example", Lang: "en",
		ClientName: "Notes", ProviderName: "Lettergate", Minutes: 10,
		RequestedAt: time.Date(2026, 11, 22, 15, 50, 1, 0, time.FixedZone("CET", 3600)),
		Expires:     time.Date(2026, 11, 22, 15, 0, 1, 0, time.UTC),
		URL:         "https://id.example/t/login/link?v=AbC-_123&w=1",
	}
}

func writeLink(t *testing.T, m mail.LinkMail) mail.Message {
	t.Helper()
	written, err := templates(t).Link(m)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func TestLinkMailGolden(t *testing.T) {
	for lang, tag := range map[string]string{"en": "en", "zh": "zh-Hans-CN"} {
		m := linkMail()
		m.Lang = tag
		written := writeLink(t, m)
		if written.To != m.To || written.MessageID != m.MessageID || !written.Expires.Equal(m.Expires) || written.Lang != lang {
			t.Errorf("got %+v", written)
		}
		golden(t, "link."+lang+".txt", "Subject: "+written.Subject+"\n\n"+written.Text)
		golden(t, "link."+lang+".html", written.HTML)
	}
}

// links returns what the reader of the HTML can follow.
func links(written mail.Message) (found []string) {
	for _, m := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(written.HTML, -1) {
		found = append(found, html.UnescapeString(m[1]))
	}
	return found
}

func TestLinkMailHasItsLinkOnce(t *testing.T) {
	for _, url := range []string{
		linkMail().URL, "http://127.0.0.1:8080/login/link?v=a", "http://localhost/login/link?v=a", "http://[::1]:80/login/link?v=a%2Fb",
	} {
		m := linkMail()
		m.URL = url
		written := writeLink(t, m)
		if got := links(written); !slices.Equal(got, []string{url}) {
			t.Errorf("the HTML leads to %q; want %q", got, url)
		}
		// Nor is there another one that a mail program would find in the text.
		if n := strings.Count(written.HTML, "://"); n != 1 {
			t.Errorf("%d addresses in\n%s", n, written.HTML)
		}
		if strings.Count(written.Text, "\n"+url+"\n") != 1 || strings.Count(written.Text, "://") != 1 {
			t.Errorf("the link is not on one line of its own in\n%s", written.Text)
		}
		if strings.Contains(written.Subject, "://") {
			t.Errorf("the subject is %q", written.Subject)
		}
	}
}

func TestLinkMailNeverWithoutALink(t *testing.T) {
	all := templates(t)
	for name, change := range map[string]func(*mail.LinkMail){
		"no link":     func(m *mail.LinkMail) { m.URL = "" },
		"a path":      func(m *mail.LinkMail) { m.URL = "/login/link?v=a" },
		"no host":     func(m *mail.LinkMail) { m.URL = "https:///login/link" },
		"script":      func(m *mail.LinkMail) { m.URL = "javascript:alert(1)" },
		"data":        func(m *mail.LinkMail) { m.URL = "data:text/html,x" },
		"ftp":         func(m *mail.LinkMail) { m.URL = "ftp://id.example/login" },
		"plain http":  func(m *mail.LinkMail) { m.URL = "http://id.example/login/link?v=a" },
		"a user":      func(m *mail.LinkMail) { m.URL = "https://id.example@evil.example/" },
		"two lines":   func(m *mail.LinkMail) { m.URL = "https://id.example/a\nb" },
		"a space":     func(m *mail.LinkMail) { m.URL = "https://id.example/a b" },
		"markup":      func(m *mail.LinkMail) { m.URL = `https://id.example/"><b>` },
		"not ASCII":   func(m *mail.LinkMail) { m.URL = "https://id.example/\u202Ea" },
		"no provider": func(m *mail.LinkMail) { m.ProviderName = "\u202E" },
		"no lifetime": func(m *mail.LinkMail) { m.Minutes = 0 },
		"no time":     func(m *mail.LinkMail) { m.RequestedAt = time.Time{} },
	} {
		m := linkMail()
		change(&m)
		if written, err := all.Link(m); err == nil {
			t.Errorf("%s: wrote %+v", name, written)
		} else {
			quiet(t, err.Error())
		}
	}
}

// EC-35 for links: no name adds an element, a line or another link.
func TestLinkMailNames(t *testing.T) {
	elements := regexp.MustCompile(`<[^>]*>`)
	for _, lang := range []string{"en", "zh"} {
		m := linkMail()
		m.Lang = lang
		plain := writeLink(t, m)
		for _, name := range []string{
			`</p><a href=//evil.example>here</a>`, "http://evil.example", "a\r\n\r\nhttps://evil.example\r\n", "x” open “y", "{{.URL}} {minutes}", "",
		} {
			m := m
			m.ClientName = name
			m.ProviderName = "P" + name
			written := writeLink(t, m)
			want := elements.FindAllString(plain.HTML, -1)
			if got := elements.FindAllString(written.HTML, -1); !cmp.Equal(got, want) {
				t.Errorf("%s %q changed the elements:\n%s", lang, name, cmp.Diff(want, got))
			}
			if got, want := strings.Count(written.Text, "\n"), strings.Count(plain.Text, "\n"); got != want {
				t.Errorf("%s %q: %d lines; want %d", lang, name, got, want)
			}
			if strings.Count(written.Text, "://") != 1 || strings.Count(written.HTML, "://") != 1 {
				t.Errorf("%s %q: another link in\n%s", lang, name, written.Text)
			}
		}
	}
}

// TestChineseMailOnTheWire: quoted-printable breaks lines anywhere, and a reader
// puts the link and the subject together again.
func TestChineseMailOnTheWire(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	m := linkMail()
	m.Lang, m.URL, m.Expires = "zh", m.URL+"&x="+strings.Repeat("aB3=", 100), time.Time{}
	written := writeLink(t, m)
	p := deliver(t, server, client(t, server, nil), written)
	subject, err := new(mime.WordDecoder).DecodeHeader(p.header.Get("Subject"))
	if err != nil || subject != written.Subject || p.header.Get("Content-Language") != "zh" {
		t.Errorf("subject %q, %v in %q; want %q", subject, err, p.header.Get("Content-Language"), written.Subject)
	}
	// Some end the last line, some do not.
	if strings.TrimSpace(p.text) != strings.TrimSpace(written.Text) || strings.TrimSpace(p.html) != strings.TrimSpace(written.HTML) {
		t.Errorf("arrived:\n%s\n%s", p.text, p.html)
	}
}
