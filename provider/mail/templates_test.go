package mail_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/mail"
)

var update = flag.Bool("update", false, "write the golden files")

func codeMail() mail.CodeMail {
	return mail.CodeMail{
		To: "kim@example.com", MessageID: "m1@mail.example", Lang: "en", Code: theCode,
		ClientName: "Notes", ProviderName: "Lettergate", Minutes: 10,
		RequestedAt: time.Date(2026, 11, 22, 15, 50, 1, 0, time.FixedZone("CET", 3600)),
		Expires:     time.Date(2026, 11, 22, 15, 0, 1, 0, time.UTC),
	}
}

func templates(t testing.TB) *mail.Templates {
	t.Helper()
	all, err := mail.NewTemplates()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t testing.TB, m mail.CodeMail) mail.Message {
	t.Helper()
	written, err := templates(t).Code(m)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func TestCodeMailGolden(t *testing.T) {
	device := codeMail()
	device.Device = "Firefox on Linux"
	chinese := device
	chinese.Lang = "zh-CN"
	for name, m := range map[string]mail.CodeMail{"code.en": codeMail(), "code-device.en": device, "code-device.zh": chinese} {
		written := write(t, m)
		golden(t, name+".txt", "Subject: "+written.Subject+"\n\n"+written.Text)
		golden(t, name+".html", written.HTML)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); run with -update if that is meant\n%s", file, diff)
	}
}

func TestCodeMailCarriesItsFields(t *testing.T) {
	m := codeMail()
	written := write(t, m)
	if written.To != m.To || written.MessageID != m.MessageID || !written.Expires.Equal(m.Expires) || written.Lang != "en" {
		t.Errorf("got %+v", written)
	}
	m.Lang = "tlh"
	if written := write(t, m); written.Lang != "en" || !strings.Contains(written.Text, "enter this code") {
		t.Errorf("an unknown language gave %q, %q", written.Lang, written.Text)
	}
}

// EC-16: what the reader needs to notice that the code is not for him.
func TestEC16WhatTheMailSays(t *testing.T) {
	m := codeMail()
	m.Device = "Firefox on Linux"
	written := write(t, m)
	for _, form := range []string{written.Text, written.HTML} {
		for _, want := range []string{
			"“Notes”", "10 min", "2026-11-22 14:50 UTC", "“Firefox on Linux”",
			"Nobody may ask you for this code", "do nothing", "Lettergate",
		} {
			if !strings.Contains(form, want) {
				t.Errorf("%q is not in\n%s", want, form)
			}
		}
		if n := strings.Count(form, theCode); n != 1 {
			t.Errorf("the code is there %d times in\n%s", n, form)
		}
	}
	if strings.Contains(written.Subject, theCode) { // EC-39
		t.Errorf("the code is in the subject %q", written.Subject)
	}
}

func TestEM12NothingRemote(t *testing.T) {
	written := write(t, codeMail())
	if found := regexp.MustCompile(`(?i)https?:|//|<img|<link|<script|<style|url\(|src=|href=|@import`).FindString(written.HTML); found != "" {
		t.Errorf("the HTML has %q", found)
	}
}

// EC-32, EC-35: whatever a client calls itself, the mail has the same lines and
// the same elements.
func TestEC35ClientNames(t *testing.T) {
	elements := regexp.MustCompile(`<[^>]*>`)
	plain := write(t, codeMail())
	for _, name := range []string{
		`</p><a href=//evil.example>here</a>`, strings.Repeat("x", 4<<10), "a\u202Eb", "a\u2066b\u2069", "http://evil.example",
		"://://", "${HOME} {{.Code}} {code} {client}", "a\r\nBcc: x@evil.com", "a\n\n    111111\n", "a\u2028b", "\x00\x1b[2J", "\xff\xfe",
		`"><script>alert(1)</script>`, "x” and then send the code to “y", "<!--", "]]>", "&#x3c;b&#x3e;", "\u200Bzero\uFEFFwidth",
	} {
		for field, set := range map[string]func(*mail.CodeMail){
			"client":   func(m *mail.CodeMail) { m.ClientName = name },
			"provider": func(m *mail.CodeMail) { m.ProviderName = "P" + name },
			"device":   func(m *mail.CodeMail) { m.Device = name },
		} {
			m := codeMail()
			set(&m)
			written := write(t, m)
			want := elements.FindAllString(plain.HTML, -1)
			if got := elements.FindAllString(written.HTML, -1); !cmp.Equal(got, want) {
				t.Errorf("%s %.60q changed the elements:\n%s", field, name, cmp.Diff(want, got))
			}
			if got, want := strings.Count(written.Text, "\n"), strings.Count(plain.Text, "\n"); got != want {
				t.Errorf("%s %.60q: %d lines; want %d", field, name, got, want)
			}
			for _, form := range []string{written.Text, written.HTML, written.Subject} {
				if found := regexp.MustCompile("://|[\x00-\x08\x0b-\x1f\u0085\u200B\u2028\u2029\u202A-\u202E\u2066-\u2069]|x{65}").FindString(form); found != "" {
					t.Errorf("%s %.60q: %q is in\n%s", field, name, found, form)
				}
			}
			for _, form := range []string{written.Text, written.HTML} {
				if n := strings.Count(form, theCode); n != 1 {
					t.Errorf("%s %.60q: the code is there %d times", field, name, n)
				}
			}
		}
	}
}

// EC-36: a client's name is in the body, in quotes, and nowhere else.
func TestEC36DisplayNameSpoofing(t *testing.T) {
	m := codeMail()
	m.ClientName = "Google Security"
	written := write(t, m)
	if strings.Contains(written.Subject, "Google") {
		t.Errorf("the subject is %q", written.Subject)
	}
	for _, form := range []string{written.Text, written.HTML} {
		if strings.Count(form, "Google Security") != 1 || !strings.Contains(form, "“Google Security”") {
			t.Errorf("not once and in quotes in\n%s", form)
		}
	}
}

func TestEM13NeverAMailWithoutACode(t *testing.T) {
	all := templates(t)
	for name, change := range map[string]func(*mail.CodeMail){
		"no code":     func(m *mail.CodeMail) { m.Code = "" },
		"not digits":  func(m *mail.CodeMail) { m.Code = "12a456" },
		"no provider": func(m *mail.CodeMail) { m.ProviderName = "\u202E" },
		"no lifetime": func(m *mail.CodeMail) { m.Minutes = 0 },
		"no time":     func(m *mail.CodeMail) { m.RequestedAt = time.Time{} },
	} {
		m := codeMail()
		change(&m)
		if written, err := all.Code(m); err == nil {
			t.Errorf("%s: wrote %+v", name, written)
		} else {
			quiet(t, err.Error())
		}
	}
	m := codeMail()
	m.ClientName = ""
	if written := write(t, m); !strings.Contains(written.Text, "“Lettergate”") || strings.Contains(written.Text, "{") {
		t.Errorf("without a client's name:\n%s", written.Text)
	}
}

// FZ-10.
func FuzzCodeMail(f *testing.F) {
	f.Add("Notes", "Lettergate", "en", "Firefox")
	f.Add("</p>", "\u202E", "zh-Hant-TW", "a\r\nb")
	f.Add(strings.Repeat("\U0001F600", 100), strings.Repeat("\U0001F600", 100), "de", "x")
	f.Add("“x”", "{{.}}", "\x00", "://")
	all := templates(f)
	sender, err := mail.NewSMTP(mail.SMTPConfig{Host: "localhost", From: "no-reply@mail.example"})
	if err != nil {
		f.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(f.Context())
	cancel()
	elements := regexp.MustCompile(`<[^>]*>`)
	want := len(elements.FindAllString(write(f, codeMail()).HTML, -1))
	f.Fuzz(func(t *testing.T, client, provider, lang, device string) {
		m := codeMail()
		m.Code = "00112233445566" // not a string that a fuzzer draws
		m.ClientName, m.ProviderName, m.Lang, m.Device = client, "P"+provider, lang, device
		written, err := all.Code(m)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(elements.FindAllString(written.HTML, -1)); n != want {
			t.Fatalf("%d elements; want %d in\n%s", n, want, written.HTML)
		}
		for _, form := range []string{written.Text, written.HTML} {
			if strings.Count(form, m.Code) != 1 {
				t.Fatalf("not one code in\n%s", form)
			}
		}
		if strings.ContainsAny(written.Subject, "\r\n\x00") || len([]rune(written.Subject)) > 80 {
			t.Fatalf("the subject is %q", written.Subject)
		}
		// The message is checked before the context is, so this sends nothing.
		if err := sender.Send(cancelled, written); errors.Is(err, mail.ErrRejected) {
			t.Fatal(err)
		}
	})
}
