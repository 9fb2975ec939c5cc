package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// quitTimeout is how long we wait for a goodbye.
const quitTimeout = time.Second

// deliver has the conversation. Before TLS nothing is said but EHLO and STARTTLS.
func (s *SMTP) deliver(ctx context.Context, e envelope) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return failure("connect to the mail server", err)
	}
	defer conn.Close()
	client, err := s.hello(ctx, conn)
	if err != nil {
		return failure("greet the mail server", err)
	}
	if s.config.Username != "" {
		if err := s.signIn(client); err != nil {
			return failure("sign in to the mail server", err)
		}
	}
	if err := client.Mail("<" + e.from + ">"); err != nil {
		return failure("name the sender of a mail", err)
	}
	if err := client.Rcpt("<" + e.to + ">"); err != nil {
		return rejection("name the recipient of a mail", err)
	}
	w, err := client.Data()
	if err != nil {
		return rejection("begin the content of a mail", err)
	}
	if _, err := w.Write(e.content); err != nil {
		return failure("send the content of a mail", err)
	}
	if err := w.Close(); err != nil {
		return rejection("end the content of a mail", err)
	}
	// The mail is delivered here. What becomes of the goodbye is no matter.
	conn.step = min(conn.step, quitTimeout)
	_ = client.Quit()
	return nil
}

// dial connects. Closing the connection is the caller's.
func (s *SMTP) dial(ctx context.Context) (*stepConn, error) {
	dialer := net.Dialer{Timeout: s.config.StepTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(s.config.Host, strconv.Itoa(s.config.Port)))
	if err != nil {
		return nil, err
	}
	if remote, ok := raw.RemoteAddr().(*net.TCPAddr); s.tls == nil && (!ok || !remote.IP.IsLoopback()) {
		raw.Close() // the name led away from this machine
		return nil, errors.New("plaintext is refused: the host is not this machine")
	}
	conn, err := newStepConn(ctx, raw, s.config.StepTimeout)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// hello exchanges greetings and puts TLS under the conversation, at once or by
// STARTTLS (RFC 3207, RFC 8314).
func (s *SMTP) hello(ctx context.Context, conn *stepConn) (*smtp.Client, error) {
	var c net.Conn = conn
	if s.tls != nil && s.config.Security == SecuritySSL {
		secure := tls.Client(conn, s.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = secure
	}
	client, err := smtp.NewClient(c, s.config.Host)
	if err != nil {
		return nil, err
	}
	client.SkipSMTPUTF8(true) // all our addresses are ASCII
	if err := client.Hello(s.config.HELO); err != nil {
		return nil, err
	}
	if s.tls == nil {
		return client, nil
	}
	if s.config.Security == SecuritySTARTTLS {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return nil, errors.New("the server does not offer STARTTLS; nothing was sent")
		}
		if err := client.StartTLS(s.tls); err != nil {
			return nil, err
		}
	}
	if state, ok := client.TLSConnectionState(); !ok || !state.HandshakeComplete {
		return nil, errors.New("the connection is not encrypted; nothing was sent")
	}
	return client, nil
}

// signIn authenticates (RFC 4954) by a mechanism that was offered after TLS: what
// an attacker may have offered before does not count.
func (s *SMTP) signIn(client *smtp.Client) error {
	_, list := client.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(list))
	var auth smtp.Auth
	switch {
	case slices.Contains(offered, "PLAIN"):
		auth = smtp.PlainAuth("", s.config.Username, s.password(), s.config.Host, false)
	case slices.Contains(offered, "LOGIN"):
		auth = smtp.LoginAuth(s.config.Username, s.password(), s.config.Host, false)
	default:
		return errors.New("the server offers neither AUTH PLAIN nor LOGIN")
	}
	err := client.Auth(auth)
	if code := replyCode(err); code >= 500 {
		s.pause()
		s.logger.Error("the mail server refuses our username or password; mail is waiting",
			"host", s.config.Host, "code", code, "pause", authPause)
	}
	return err
}

// pause keeps everybody from signing in for authPause.
func (s *SMTP) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauseUntil = s.now().Add(authPause)
}

func (s *SMTP) paused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Before(s.pauseUntil)
}

// rejection is failure for the steps whose 5xx answer is about this message. An
// answer 50x is about the conversation and 53x about us (RFC 4954 section 6).
func rejection(deed string, err error) error {
	failed := failure(deed, err)
	if code := replyCode(err); code >= 500 && code/10 != 50 && code/10 != 53 {
		return fmt.Errorf("%w: %w", ErrRejected, failed)
	}
	return failed
}
