package mail

import (
	"context"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"syscall"
	"testing"
)

// TestAdviseElsewhere is about servers that no test can be: those of the internet, and
// none at all.
func TestAdviseElsewhere(t *testing.T) {
	refused := &textproto.Error{Code: 535, Msg: "Login Fail"}
	for _, test := range []struct {
		host, step string
		err        error
		want       string
	}{
		{"smtp.qq.com", StepSignIn, refused, "refuses mail.username or mail.password: it wants an authorization code"},
		{"smtp.163.com", StepSignIn, refused, "it wants an authorization code"},
		{"smtp.exmail.qq.com", StepSignIn, refused, "a client password"},
		{"smtp.gmail.com", StepSignIn, &textproto.Error{Code: 534, Msg: "5.7.9 Application-specific password required"}, "it wants an app password"},
		{"smtp.exmaple.com", StepConnect, &net.DNSError{IsNotFound: true}, "There is no host called smtp.exmaple.com"},
		{"smtp.example.com", StepConnect, &net.DNSError{IsTimeout: true}, "has a working DNS server"},
		{"smtp.example.com", StepConnect, &net.OpError{Err: syscall.ENETUNREACH}, "no way to that network"},
		{"smtp.example.com", StepConnect, fmt.Errorf("dial: %w", context.DeadlineExceeded), "block ports of mail"},
	} {
		s := SMTP{config: SMTPConfig{Host: test.host, Port: 465, Security: SecuritySSL}}
		if got := s.advise(test.step, test.err); !strings.Contains(got, test.want) {
			t.Errorf("%s, %v: %q, want %q in it", test.host, test.err, got, test.want)
		}
	}
}
