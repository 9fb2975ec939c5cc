package mail_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/mail"
)

func noticeMail(kind mail.Notice, lang string) mail.NoticeMail {
	m := mail.NoticeMail{
		To: "kim@example.com", MessageID: "m1@mail.example", Lang: lang, ProviderName: "Lettergate", Kind: kind,
		At:      time.Date(2026, 11, 22, 15, 50, 1, 0, time.FixedZone("CET", 3600)),
		Expires: time.Date(2026, 11, 23, 15, 0, 1, 0, time.UTC),
	}
	if kind == mail.NoticeEmailChanged {
		m.NewEmail = "new.address@example.com"
	}
	return m
}

func writeNotice(t *testing.T, m mail.NoticeMail) mail.Message {
	t.Helper()
	written, err := templates(t).Notice(m)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func TestNoticeGolden(t *testing.T) {
	for _, kind := range []mail.Notice{mail.NoticePasswordChanged, mail.NoticeEmailChanged} {
		for lang, tag := range map[string]string{"en": "en", "zh": "zh-Hans"} {
			m := noticeMail(kind, tag)
			written := writeNotice(t, m)
			if written.To != m.To || written.MessageID != m.MessageID || !written.Expires.Equal(m.Expires) || written.Lang != lang {
				t.Errorf("got %+v", written)
			}
			name := "notice-" + string(kind) + "." + lang
			golden(t, name+".txt", "Subject: "+written.Subject+"\n\n"+written.Text)
			golden(t, name+".html", written.HTML)
		}
	}
}

// A notice alarms. It has nothing to follow and nothing to type.
func TestNoticeHasNeitherLinkNorCode(t *testing.T) {
	address := regexp.MustCompile(`://|//|[0-9]{5}`)
	element := regexp.MustCompile(`(?i)<(?:a|img|link|script|style|form)\b|<[^>]*(?:src|href)=|url\(`)
	for _, kind := range []mail.Notice{mail.NoticePasswordChanged, mail.NoticeEmailChanged} {
		for _, lang := range []string{"en", "zh"} {
			m := noticeMail(kind, lang)
			m.ProviderName = "P https://evil.example <a href=x>"
			written := writeNotice(t, m)
			for _, form := range []string{written.Subject, written.Text, written.HTML} {
				if found := address.FindString(form); found != "" {
					t.Errorf("%s, %s: %q is in\n%s", kind, lang, found, form)
				}
			}
			if found := element.FindString(written.HTML); found != "" {
				t.Errorf("%s, %s: %q is in\n%s", kind, lang, found, written.HTML)
			}
			for _, form := range []string{written.Text, written.HTML} {
				if strings.Count(form, "2026-11-22 14:50 UTC") != 1 {
					t.Errorf("%s, %s: the time is not there once in\n%s", kind, lang, form)
				}
			}
		}
	}
}

func TestNoticeMasksTheNewAddress(t *testing.T) {
	for in, want := range map[string]string{
		"new.address@example.com": "n•••@example.com",
		"N@EXAMPLE.com":           "N•••@example.com",
		"x@b\u00fccher.example":   "x•••@xn--bcher-kva.example",
	} {
		m := noticeMail(mail.NoticeEmailChanged, "en")
		m.NewEmail = in
		written := writeNotice(t, m)
		for _, form := range []string{written.Text, written.HTML} {
			if strings.Count(form, " "+want+" ") != 1 || strings.Contains(form, in) {
				t.Errorf("%s: %q is not there once, or the whole is, in\n%s", in, want, form)
			}
		}
		if strings.Contains(written.Subject, "@") {
			t.Errorf("the subject is %q", written.Subject)
		}
	}
}

func TestNoticeNeverSaysNothing(t *testing.T) {
	all := templates(t)
	for name, change := range map[string]func(*mail.NoticeMail){
		"no kind":      func(m *mail.NoticeMail) { m.Kind = "" },
		"unknown kind": func(m *mail.NoticeMail) { m.Kind = "password" },
		"no time":      func(m *mail.NoticeMail) { m.At = time.Time{} },
		"no provider":  func(m *mail.NoticeMail) { m.ProviderName = "" },
		"no address":   func(m *mail.NoticeMail) { m.NewEmail = "" },
		"two lines":    func(m *mail.NoticeMail) { m.NewEmail = "a@example.com\n" },
		"not an email": func(m *mail.NoticeMail) { m.NewEmail = "@example.com" },
	} {
		m := noticeMail(mail.NoticeEmailChanged, "en")
		change(&m)
		if written, err := all.Notice(m); err == nil {
			t.Errorf("%s: wrote %+v", name, written)
		} else {
			quiet(t, err.Error())
		}
	}
}
