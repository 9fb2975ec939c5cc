package mail_test

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/mail"
)

// TestFailuresAreTold: an operator whose mail server is down reads so, once a
// minute, and reads nobody's address.
func TestFailuresAreTold(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	var log bytes.Buffer
	now := time.Now()
	smtp, err := mail.NewSMTP(mail.SMTPConfig{
		Host: "127.0.0.1", Port: closed.Addr().(*net.TCPAddr).Port, From: "no-reply@example.com",
		Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		t.Helper()
		if err := smtp.Send(t.Context(), mail.Message{To: "ann@example.org", Subject: "s", Text: "t"}); err == nil {
			t.Fatal("sent to nobody")
		}
	}
	for want := 1; want <= 2; want++ {
		send()
		send()
		if got := strings.Count(log.String(), "a mail was not sent"); got != want {
			t.Errorf("told %d times, want %d:\n%s", got, want, log.String())
		}
		now = now.Add(time.Minute)
	}
	if strings.Contains(log.String(), "ann@") {
		t.Errorf("the log names the recipient:\n%s", log.String())
	}
}
