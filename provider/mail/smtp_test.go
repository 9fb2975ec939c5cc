package mail_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

const (
	theCode     = "493817"
	thePassword = "correct-horse-battery"
)

// encodedPasswords are the forms in which AUTH carries the password.
var encodedPasswords = []string{
	thePassword,
	base64.StdEncoding.EncodeToString([]byte(thePassword)),
	base64.StdEncoding.EncodeToString([]byte("\x00robot\x00" + thePassword)),
}

func message() mail.Message {
	return mail.Message{
		To:        "kim@example.com",
		Subject:   "Your code for Lettergate",
		Text:      "The code is\n\n" + theCode + "\n",
		HTML:      "<p>The code is <b>" + theCode + "</b></p>",
		MessageID: "m1@mail.example",
		Lang:      "en",
	}
}

// client returns an SMTP for server, quick to lose patience where a test says so.
func client(t *testing.T, server *mailtest.Server, change func(*mail.SMTPConfig)) *mail.SMTP {
	t.Helper()
	config := mail.SMTPConfig{
		Host: server.Host, Port: server.Port, RootCAs: server.RootCAs,
		From: "Lettergate <no-reply@mail.example>",
	}
	if change != nil {
		change(&config)
	}
	s, err := mail.NewSMTP(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func withSSL(c *mail.SMTPConfig)      { c.Security = mail.SecuritySSL }
func withPassword(c *mail.SMTPConfig) { c.Username, c.Password = "robot", thePassword }

// temporary checks that err is a failure that is worth another try.
func temporary(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, mail.ErrRejected) {
		t.Errorf("Send: %v; want a temporary error", err)
	}
	quiet(t, fmt.Sprint(err))
}

// quiet checks that a text holds no secret.
func quiet(t *testing.T, text string) {
	t.Helper()
	for _, secret := range append(encodedPasswords, theCode) {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %.300q", secret, text)
		}
	}
}

// nothingSent checks that no conversation got as far as a sender or a password, or
// said the code.
func nothingSent(t *testing.T, server *mailtest.Server) {
	t.Helper()
	for _, c := range server.Conversations() {
		quiet(t, string(c.Clear))
		for _, command := range c.Commands {
			if strings.HasPrefix(command, "MAIL") || strings.HasPrefix(command, "AUTH") {
				t.Errorf("the server was told %q", command)
			}
		}
		if len(c.Mails) > 0 {
			t.Error("the server has the mail")
		}
	}
}

func TestSendOverTLS(t *testing.T) {
	for name, config := range map[string]struct {
		server mailtest.ServerConfig
		client func(*mail.SMTPConfig)
	}{
		"starttls": {mailtest.ServerConfig{}, nil},
		"ssl":      {mailtest.ServerConfig{ImplicitTLS: true}, withSSL},
		"AUTH PLAIN": {
			mailtest.ServerConfig{Username: "robot", Password: thePassword}, withPassword},
		"AUTH LOGIN": {
			mailtest.ServerConfig{Username: "robot", Password: thePassword, Mechanisms: "LOGIN"}, withPassword},
		"AUTH over ssl": {
			mailtest.ServerConfig{ImplicitTLS: true, Username: "robot", Password: thePassword},
			func(c *mail.SMTPConfig) { withSSL(c); withPassword(c) }},
		"localhost by name": {mailtest.ServerConfig{}, func(c *mail.SMTPConfig) { c.Host = "localhost" }},
	} {
		t.Run(name, func(t *testing.T) {
			server := mailtest.NewServer(t, config.server)
			if err := client(t, server, config.client).Send(t.Context(), message()); err != nil {
				t.Fatal(err)
			}
			mails := server.Mails()
			if len(mails) != 1 || !mails[0].TLS {
				t.Fatalf("the server has %+v; want one mail over TLS", mails)
			}
			if m := mails[0]; m.To != "TO:<kim@example.com>" || !strings.HasPrefix(m.From, "FROM:<no-reply@mail.example>") {
				t.Errorf("envelope %q, %q", m.From, m.To)
			}
			for _, c := range server.Conversations() {
				quiet(t, string(c.Clear))
			}
		})
	}
}

func TestEM01NothingWithoutVerifiedTLS(t *testing.T) {
	for name, test := range map[string]struct {
		config mailtest.ServerConfig
		step   string
		fault  mailtest.Fault
	}{
		"no STARTTLS":          {config: mailtest.ServerConfig{NoSTARTTLS: true}},
		"STARTTLS answers 454": {step: "STARTTLS", fault: mailtest.Fault{Reply: "454 4.7.0 not now"}},
		"STARTTLS answers 250": {step: "STARTTLS", fault: mailtest.Fault{Reply: "250 go on in clear"}},
		"cut after 220":        {step: mailtest.OnTLS, fault: mailtest.Fault{Cut: true}},
		"no TLS after 220":     {step: mailtest.OnTLS, fault: mailtest.Fault{Reply: "250 go on in clear"}},
		"EHLO refused":         {step: "EHLO", fault: mailtest.Fault{Reply: "502 5.5.1 what?"}},
		"wrong name":           {config: mailtest.ServerConfig{Certificate: mailtest.WrongName}},
		"expired":              {config: mailtest.ServerConfig{Certificate: mailtest.Expired}},
		"self-signed":          {config: mailtest.ServerConfig{Certificate: mailtest.SelfSigned}},
		"TLS 1.0":              {config: mailtest.ServerConfig{MaxTLS: tls.VersionTLS10}},
		"TLS 1.1":              {config: mailtest.ServerConfig{MaxTLS: tls.VersionTLS11}},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Username, test.config.Password = "robot", thePassword
			test.config.MechanismsBeforeTLS = "PLAIN LOGIN"
			server := mailtest.NewServer(t, test.config)
			server.Fault(test.step, test.fault)
			temporary(t, client(t, server, withPassword).Send(t.Context(), message()))
			nothingSent(t, server)
		})
	}
	for name, fault := range map[string]mailtest.CertificateFault{
		"ssl, wrong name": mailtest.WrongName, "ssl, expired": mailtest.Expired, "ssl, self-signed": mailtest.SelfSigned,
	} {
		t.Run(name, func(t *testing.T) {
			server := mailtest.NewServer(t, mailtest.ServerConfig{ImplicitTLS: true, Certificate: fault})
			temporary(t, client(t, server, withSSL).Send(t.Context(), message()))
			nothingSent(t, server)
		})
	}
	t.Run("ssl to a server in clear", func(t *testing.T) {
		server := mailtest.NewServer(t, mailtest.ServerConfig{})
		temporary(t, client(t, server, withSSL).Send(t.Context(), message()))
		nothingSent(t, server)
	})
}

// What comes in clear behind the 220 would, if it were read after the handshake,
// be the answer to our EHLO: no AUTH there, and the mail would go unsigned.
func TestEM02PlaintextBehindSTARTTLSIsDropped(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{Username: "robot", Password: thePassword})
	server.Fault("STARTTLS", mailtest.Fault{Reply: "220 go ahead", After: "250 injected\r\n250 injected\r\n"})
	if err := client(t, server, withPassword).Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if n := len(server.Mails()); n != 1 {
		t.Errorf("the server has %d mails; want 1", n)
	}
}

func TestEM03NoCredentialsByWhatWasOfferedInClear(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{
		Username: "robot", Password: thePassword, MechanismsBeforeTLS: "PLAIN LOGIN", Mechanisms: "GSSAPI",
	})
	temporary(t, client(t, server, withPassword).Send(t.Context(), message()))
	nothingSent(t, server)
}

func TestEM03RefusedPasswordStopsHammering(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{Username: "robot", Password: "another"})
	var log bytes.Buffer
	now := time.Now()
	s := client(t, server, func(c *mail.SMTPConfig) {
		withPassword(c)
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Now = func() time.Time { return now }
	})
	for range 20 {
		temporary(t, s.Send(t.Context(), message()))
	}
	if n := len(server.Conversations()); n != 1 {
		t.Errorf("%d conversations; want 1", n)
	}
	if strings.Count(log.String(), "level=ERROR") != 1 {
		t.Errorf("the log is %q; want one alarm", log.String())
	}
	quiet(t, log.String())
	now = now.Add(2 * time.Minute)
	temporary(t, s.Send(t.Context(), message()))
	if n := len(server.Conversations()); n != 2 {
		t.Errorf("%d conversations after the pause; want 2", n)
	}
}

func TestEM04DeadServers(t *testing.T) {
	steps := []string{mailtest.OnConnect, "EHLO", "STARTTLS", mailtest.OnTLS, "AUTH", "MAIL", "RCPT", "DATA", mailtest.OnContent}
	for _, step := range steps {
		t.Run("hangs at "+step, func(t *testing.T) {
			t.Parallel()
			server := mailtest.NewServer(t, mailtest.ServerConfig{Username: "robot", Password: thePassword})
			server.Fault(step, mailtest.Fault{Hang: true})
			s := client(t, server, func(c *mail.SMTPConfig) {
				withPassword(c)
				c.StepTimeout, c.Timeout = 300*time.Millisecond, time.Hour
			})
			temporary(t, s.Send(t.Context(), message()))
		})
	}
}

// A byte now and then is not an answer: the step's time runs on.
func TestEM04DrippingServer(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	ticks := make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				select {
				case ticks <- struct{}{}:
				case <-t.Context().Done():
					return
				}
			case <-t.Context().Done():
				return
			}
		}
	}()
	server.Fault("MAIL", mailtest.Fault{Drip: ticks})
	s := client(t, server, func(c *mail.SMTPConfig) { c.StepTimeout, c.Timeout = 300*time.Millisecond, time.Hour })
	temporary(t, s.Send(t.Context(), message()))
}

// The time of a step is not that of the whole.
func TestEM04SlowServerIsNotDead(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	for _, step := range []string{"EHLO", "MAIL", "RCPT", mailtest.OnContent} {
		server.Fault(step, mailtest.Fault{Delay: 200 * time.Millisecond})
	}
	s := client(t, server, func(c *mail.SMTPConfig) { c.StepTimeout = 600 * time.Millisecond })
	if err := s.Send(t.Context(), message()); err != nil {
		t.Errorf("Send: %v", err)
	}
}

func TestEM04WholeTimeAndContext(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	server.Fault("MAIL", mailtest.Fault{Hang: true})
	t.Run("whole", func(t *testing.T) {
		s := client(t, server, func(c *mail.SMTPConfig) { c.StepTimeout, c.Timeout = time.Hour, 300*time.Millisecond })
		err := s.Send(t.Context(), message())
		temporary(t, err)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v; want a deadline", err)
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		err := client(t, server, nil).Send(ctx, message())
		temporary(t, err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v; want a cancellation", err)
		}
	})
}

func TestEM04FewConnections(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	server.Fault("MAIL", mailtest.Fault{Hang: true})
	s := client(t, server, func(c *mail.SMTPConfig) { c.Connections = 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { temporary(t, s.Send(ctx, message())) })
	}
	all.Wait()
	if n := len(server.Conversations()); n != 2 {
		t.Errorf("%d connections at once; want 2", n)
	}
}

func TestEM05TemporaryReplies(t *testing.T) {
	for _, step := range []string{mailtest.OnConnect, "MAIL", "RCPT", "DATA", mailtest.OnContent} {
		for _, reply := range []string{"421 4.3.2 closing", "450 4.2.0 greylisted", "451 4.3.0 later", "452 4.2.2 full"} {
			server := mailtest.NewServer(t, mailtest.ServerConfig{})
			server.Fault(step, mailtest.Fault{Reply: reply})
			t.Run(step+" "+reply[:3], func(t *testing.T) {
				temporary(t, client(t, server, nil).Send(t.Context(), message()))
			})
		}
	}
}

func TestEM06RejectedRecipients(t *testing.T) {
	for _, step := range []string{"RCPT", "DATA", mailtest.OnContent} {
		for _, code := range []string{"521", "550", "551", "552", "553", "554"} {
			t.Run(step+" "+code, func(t *testing.T) {
				server := mailtest.NewServer(t, mailtest.ServerConfig{})
				server.Fault(step, mailtest.Fault{Reply: code + "-5.1.1 no " + theCode + "\r\n" + code + " 5.1.1 here"})
				err := client(t, server, nil).Send(t.Context(), message())
				if !errors.Is(err, mail.ErrRejected) || !strings.Contains(err.Error(), code+" 5.1.1") {
					t.Errorf("Send: %v; want ErrRejected with %s 5.1.1", err, code)
				}
				quiet(t, fmt.Sprint(err))
				server.Fault(step, mailtest.Fault{Reply: code + " no " + theCode})
				err = client(t, server, nil).Send(t.Context(), message())
				if !errors.Is(err, mail.ErrRejected) {
					t.Errorf("Send: %v; want ErrRejected", err)
				}
				quiet(t, fmt.Sprint(err))
			})
		}
	}
}

// A 5xx that is about us or the conversation must not cost the recipient his mail.
func TestEM06OurOwnFaultsAreTemporary(t *testing.T) {
	for step, reply := range map[string]string{
		mailtest.OnConnect: "554 5.7.1 go away",
		"MAIL":             "550 5.7.1 sender not allowed",
		"RCPT":             "530 5.7.0 authentication required",
		"DATA":             "503 5.5.1 bad sequence",
	} {
		t.Run(step, func(t *testing.T) {
			server := mailtest.NewServer(t, mailtest.ServerConfig{})
			server.Fault(step, mailtest.Fault{Reply: reply})
			temporary(t, client(t, server, nil).Send(t.Context(), message()))
		})
	}
}

func TestEM07LostAcknowledgement(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	s := client(t, server, nil)
	server.Fault(mailtest.OnContent, mailtest.Fault{Cut: true})
	temporary(t, s.Send(t.Context(), message()))
	server.Fault(mailtest.OnContent, mailtest.Fault{})
	if err := s.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	mails := server.Mails()
	if len(mails) != 2 {
		t.Fatalf("%d mails; want 2", len(mails))
	}
	for _, m := range mails {
		if !bytes.Contains(m.Raw, []byte("\r\nMessage-ID: <m1@mail.example>\r\n")) {
			t.Errorf("another Message-ID in\n%s", m.Raw)
		}
	}
}

func TestGoodbyeDoesNotMatter(t *testing.T) {
	for name, fault := range map[string]mailtest.Fault{
		"refused": {Reply: "500 no"}, "cut": {Cut: true}, "hangs": {Hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := mailtest.NewServer(t, mailtest.ServerConfig{})
			server.Fault("QUIT", fault)
			s := client(t, server, func(c *mail.SMTPConfig) { c.StepTimeout, c.Timeout = time.Hour, time.Hour })
			if err := s.Send(t.Context(), message()); err != nil {
				t.Errorf("Send: %v", err)
			}
		})
	}
}

// EM-14: neither errors nor logs nor formatted values show the password, also
// when the server repeats what it was sent.
func TestEM14PasswordStaysOut(t *testing.T) {
	var echoes []string
	for _, password := range encodedPasswords {
		for _, reply := range []string{"535 5.7.8 not ", "535 ", "", "334 ", "235x"} {
			echoes = append(echoes, reply+password, reply+password) // to PLAIN and to LOGIN
		}
	}
	for i, echo := range echoes {
		server := mailtest.NewServer(t, mailtest.ServerConfig{
			Username: "robot", Password: thePassword, Mechanisms: []string{"PLAIN", "LOGIN"}[i%2],
		})
		server.Fault("AUTH", mailtest.Fault{Reply: echo})
		var log bytes.Buffer
		s := client(t, server, func(c *mail.SMTPConfig) {
			withPassword(c)
			c.StepTimeout = 300 * time.Millisecond
			c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		temporary(t, s.Send(t.Context(), message()))
		slog.New(slog.NewTextHandler(&log, nil)).Info("dump", "smtp", s)
		quiet(t, log.String())
		quiet(t, fmt.Sprintf("%v %+v %#v", s, s, s))
	}
	config := mail.SMTPConfig{Host: "mail.example", Username: "robot", Password: thePassword, From: "x"}
	quiet(t, fmt.Sprintf("%v %+v %#v", config, config, config))
	_, err := mail.NewSMTP(config)
	quiet(t, fmt.Sprint(err))
}

func TestNewSMTPRefuses(t *testing.T) {
	good := mail.SMTPConfig{Host: "mail.example", From: "Lettergate <no-reply@mail.example>"}
	if _, err := mail.NewSMTP(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*mail.SMTPConfig){
		"no host":                    func(c *mail.SMTPConfig) { c.Host = "" },
		"a socket":                   func(c *mail.SMTPConfig) { c.Host = "unix:///tmp/x" },
		"port":                       func(c *mail.SMTPConfig) { c.Port = 65536 },
		"no such security":           func(c *mail.SMTPConfig) { c.Security = "none" },
		"plaintext elsewhere":        func(c *mail.SMTPConfig) { c.InsecurePlaintext = true },
		"plaintext to an address":    func(c *mail.SMTPConfig) { c.InsecurePlaintext, c.Host = true, "10.0.0.1" },
		"plaintext with a password":  func(c *mail.SMTPConfig) { c.InsecurePlaintext, c.Host = true, "127.0.0.1"; withPassword(c) },
		"password alone":             func(c *mail.SMTPConfig) { c.Password = thePassword },
		"line break in the password": func(c *mail.SMTPConfig) { c.Username, c.Password = "robot", "a\r\nQUIT" },
		"no sender":                  func(c *mail.SMTPConfig) { c.From = "" },
		"two senders":                func(c *mail.SMTPConfig) { c.From = "a@b.example, c@d.example" },
		"sender with a line break":   func(c *mail.SMTPConfig) { c.From = "=?utf-8?q?a=0D=0ABcc:_x@evil.com?= <a@b.example>" },
		"quoted sender":              func(c *mail.SMTPConfig) { c.From = `"a b"@b.example` },
		"HELO":                       func(c *mail.SMTPConfig) { c.HELO = "a\r\nQUIT" },
		"negative timeout":           func(c *mail.SMTPConfig) { c.Timeout = -1 },
	} {
		config := good
		change(&config)
		if _, err := mail.NewSMTP(config); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			quiet(t, err.Error())
		}
	}
}

func TestPlaintextToThisMachine(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{NoSTARTTLS: true})
	s := client(t, server, func(c *mail.SMTPConfig) { c.InsecurePlaintext, c.From = true, "Lettergate <no-reply@localhost>" })
	if err := s.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if mails := server.Mails(); len(mails) != 1 || mails[0].TLS {
		t.Errorf("the server has %+v", mails)
	}
}

func TestExpiredMailIsNotSent(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	m := message()
	m.Expires = time.Now().Add(-time.Second)
	temporary(t, client(t, server, nil).Send(t.Context(), m))
	if n := len(server.Conversations()); n != 0 {
		t.Errorf("%d conversations; want none", n)
	}
}

func TestTalkativeServer(t *testing.T) {
	server := mailtest.NewServer(t, mailtest.ServerConfig{})
	server.Fault("MAIL", mailtest.Fault{Reply: strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 3000) + "250 OK"})
	temporary(t, client(t, server, nil).Send(t.Context(), message()))
}

var _ mail.Mailer = (*mail.SMTP)(nil)
