package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lettergate/lettergate/config"
)

func TestPresets(t *testing.T) {
	for _, test := range []struct {
		name     string
		in, want config.Mail // without Username, Password and From
	}{
		{"qq", config.Mail{Preset: "qq"}, config.Mail{Host: "smtp.qq.com", Port: 465, Security: "ssl"}},
		{"qq, 587", config.Mail{Preset: "qq", Port: 587}, config.Mail{Host: "smtp.qq.com", Port: 587, Security: "starttls"}},
		{"qq, 465", config.Mail{Preset: "qq", Port: 465}, config.Mail{Host: "smtp.qq.com", Port: 465, Security: "ssl"}},
		{"exmail", config.Mail{Preset: "exmail"}, config.Mail{Host: "smtp.exmail.qq.com", Port: 465, Security: "ssl"}},
		{"163", config.Mail{Preset: "163", Security: "ssl"}, config.Mail{Host: "smtp.163.com", Port: 465, Security: "ssl"}},
		{"gmail", config.Mail{Preset: "gmail"}, config.Mail{Host: "smtp.gmail.com", Port: 465, Security: "ssl"}},
		{"gmail, starttls", config.Mail{Preset: "gmail", Security: "starttls"}, config.Mail{Host: "smtp.gmail.com", Port: 587, Security: "starttls"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, issuer := range []string{"http://localhost:8080", "https://id.example.com"} {
				in, want := test.in, test.want
				in.Username, in.Password = "mailbox@example.com", plain
				want.Preset, want.From, want.Username, want.Password = in.Preset, in.Username, in.Username, plain
				c := config.Config{Issuer: issuer, Secrets: []config.SecretKey{{ID: "a", Value: secretA}}, Mail: in}.WithDefaults()
				if diff := cmp.Diff(want, c.Mail); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if err := c.Validate(); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(c, c.WithDefaults()); diff != "" {
					t.Errorf("WithDefaults changes what is complete:\n%s", diff)
				}
			}
		})
	}
}

func TestPresetFrom(t *testing.T) {
	c := config.Config{Mail: config.Mail{Preset: "qq", Username: "a@qq.com", Password: plain, From: "Notes <a@qq.com>"}}.WithDefaults()
	if c.Mail.From != "Notes <a@qq.com>" {
		t.Errorf("the sender is %s", c.Mail.From)
	}
}

func TestPresetFaults(t *testing.T) {
	const (
		bothOffered  = " offers security ssl on port 465 and starttls on port 587, and not "
		setPassword  = "; write it here, or set LETTERGATE_MAIL_PASSWORD (or LETTERGATE_MAIL_PASSWORD_FILE, the name of a file with it)"
		misprint     = "mail.port: 578 is a misprint of 587 on the CloudBase page; use 587 with starttls, or 465 with ssl"
		chinaAdvice  = "mail.password: is required with a username: it wants an authorization code (授权码), which the settings of the mailbox make where SMTP is turned on, and not the password of the mailbox"
		gmailAdvice  = "mail.password: is required with a username: it wants an app password, which an account with 2-step verification makes at https://myaccount.google.com/apppasswords, and not the password of the mailbox"
		exmailAdvice = "mail.password: is required with a username: it wants the password of the mailbox or, where secure sign-in is on, a client password (客户端专用密码) from the settings of the mailbox"
	)
	for name, test := range map[string]struct {
		change func(*config.Mail)
		want   string
	}{
		"unknown":                {func(m *config.Mail) { m.Preset, m.Host = "outlook", "h" }, `mail.preset: "outlook" is not known; known are qq, exmail, 163, gmail`},
		"with a host":            {func(m *config.Mail) { m.Host = "smtp.example.com" }, "mail.host: the preset qq stands for smtp.qq.com; leave one of the two out"},
		"in clear":               {func(m *config.Mail) { m.InsecurePlaintext, m.Preset = true, "163" }, "mail.insecure_plaintext: is refused for an https issuer; use security: starttls or ssl"},
		"qq, misprint":           {func(m *config.Mail) { m.Port = 578 }, misprint},
		"gmail, misprint":        {func(m *config.Mail) { m.Preset, m.Port, m.Security = "gmail", 578, "starttls" }, misprint},
		"misprint, no preset":    {func(m *config.Mail) { m.Preset, m.Host, m.Port = "", "smtp.qq.com", 578 }, misprint},
		"578 elsewhere":          {func(m *config.Mail) { m.Preset, m.Host, m.Port = "", "smtp.example.com", 578 }, ""},
		"qq, ssl on 587":         {func(m *config.Mail) { m.Security, m.Port = "ssl", 587 }, "mail.security: smtp.qq.com" + bothOffered + "ssl on port 587"},
		"gmail, starttls, 465":   {func(m *config.Mail) { m.Preset, m.Security, m.Port = "gmail", "starttls", 465 }, "mail.security: smtp.gmail.com" + bothOffered + "starttls on port 465"},
		"qq on another port":     {func(m *config.Mail) { m.Port = 25 }, "mail.port: smtp.qq.com" + bothOffered + "ssl on port 25"},
		"exmail with starttls":   {func(m *config.Mail) { m.Preset, m.Security = "exmail", "starttls" }, "mail.security: smtp.exmail.qq.com offers security ssl on port 465, and not starttls on port 587"},
		"163 on 587":             {func(m *config.Mail) { m.Preset, m.Port = "163", 587 }, "mail.security: smtp.163.com offers security ssl on port 465, and not ssl on port 587"},
		"163, misprint":          {func(m *config.Mail) { m.Preset, m.Port = "163", 578 }, "mail.port: smtp.163.com offers security ssl on port 465, and not ssl on port 578"},
		"no mailbox":             {func(m *config.Mail) { m.Username, m.Password = "", "" }, "mail.username: is required with the preset qq: the address of the mailbox"},
		"no mailbox, a password": {func(m *config.Mail) { m.Username = "" }, "mail.username: is required with the preset qq: the address of the mailbox"},
		"security unknown":       {func(m *config.Mail) { m.Security = "tls" }, `mail.security: "tls" is not known; known are ssl, starttls`},
		"mailbox is no address":  {func(m *config.Mail) { m.Username = "1234567" }, "mail.username: is the address of the mailbox with the preset qq: write an address, as in name@example.com"},
		"qq, no password":        {func(m *config.Mail) { m.Password = "" }, chinaAdvice + setPassword},
		"163, no password":       {func(m *config.Mail) { m.Preset, m.Password = "163", "" }, chinaAdvice + setPassword},
		"gmail, no password":     {func(m *config.Mail) { m.Preset, m.Password = "gmail", "" }, gmailAdvice + setPassword},
		"exmail, no password":    {func(m *config.Mail) { m.Preset, m.Password = "exmail", "" }, exmailAdvice + setPassword},
	} {
		t.Run(name, func(t *testing.T) {
			c := published()
			c.Mail = config.Mail{Preset: "qq", Username: "mailbox@qq.com", Password: plain}
			test.change(&c.Mail)
			if c.Mail.Preset != "qq" && c.Mail.Preset != "exmail" && c.Mail.Preset != "163" && c.Mail.Preset != "gmail" {
				c.Mail.From = "mailbox@qq.com"
			}
			err := c.WithDefaults().Validate()
			if fmt.Sprint(err) != test.want && (err != nil || test.want != "") {
				t.Errorf("got:\n%v\nwant:\n%s", err, test.want)
			}
		})
	}
}

func TestPasswordAdvice(t *testing.T) {
	for word, m := range map[string]config.Mail{
		"authorization code": {Preset: "163"}, "client password": {Host: "smtp.exmail.qq.com"}, "app password": {Host: "SMTP.gmail.com"},
	} {
		if advice := m.PasswordAdvice(); !strings.Contains(advice, word) {
			t.Errorf("%+v: %q, want %q in it", m, advice, word)
		}
	}
	for _, m := range []config.Mail{{}, {Host: "smtp.example.com"}} {
		if advice := m.PasswordAdvice(); advice != "" {
			t.Errorf("%+v: %q", m, advice)
		}
	}
}
