package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// quitTimeout is how long we wait for a goodbye.
const quitTimeout = time.Second

// What a server does not offer, and we do not go on without.
var (
	errNoSTARTTLS  = errors.New("the server does not offer STARTTLS; nothing was sent")
	errNoMechanism = errors.New("the server offers neither AUTH PLAIN nor LOGIN")
)

// deliver has the conversation. Before TLS nothing is said but EHLO and STARTTLS.
func (s *SMTP) deliver(ctx context.Context, e envelope) error {
	var conn *stepConn
	err := s.step(StepConnect, func() (detail string, err error) {
		if conn, err = s.dial(ctx); err != nil {
			return "", err
		}
		return conn.RemoteAddr().String(), nil
	})
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
	if err := s.transfer(client, e); err != nil {
		return err
	}
	// The mail is delivered here. What becomes of the goodbye is no matter.
	conn.step = min(conn.step, quitTimeout)
	_ = client.Quit()
	return nil
}

// transfer hands the mail over.
func (s *SMTP) transfer(client *smtp.Client, e envelope) error {
	err := s.step(StepSender, func() (string, error) { return e.from, client.Mail("<" + e.from + ">") })
	if err != nil {
		return failure("name the sender of a mail", err)
	}
	err = s.step(StepRecipient, func() (string, error) { return e.to, client.Rcpt("<" + e.to + ">") })
	if err != nil {
		return rejection("name the recipient of a mail", err)
	}
	var w io.WriteCloser
	err = s.step(StepData, func() (_ string, err error) {
		w, err = client.Data()
		return "", err
	})
	if err != nil {
		return rejection("begin the content of a mail", err)
	}
	err = s.step(StepAccepted, func() (detail string, err error) {
		if _, err := w.Write(e.content); err != nil {
			return "", err
		}
		err = w.Close()
		if data, ok := w.(*smtp.DataCloser); ok {
			detail = data.ServerResponse()
		}
		return detail, err
	})
	if err != nil {
		return rejection("send the content of a mail", err)
	}
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
	c, err := s.secure(ctx, conn)
	if err != nil {
		return nil, err
	}
	var client *smtp.Client
	err = s.step(StepGreeting, func() (_ string, err error) {
		client, err = smtp.NewClient(c, s.config.Host)
		return "", err
	})
	if err != nil {
		return nil, err
	}
	client.SkipSMTPUTF8(true) // all our addresses are ASCII
	err = s.step(StepHello, func() (string, error) {
		if err := client.Hello(s.config.HELO); err != nil {
			return "", err
		}
		return offers(client), nil
	})
	if err != nil || s.tls == nil {
		return client, err
	}
	if s.config.Security == SecuritySTARTTLS {
		if err := s.step(StepStartTLS, func() (string, error) { return s.startTLS(client) }); err != nil {
			return nil, err
		}
	}
	if state, ok := client.TLSConnectionState(); !ok || !state.HandshakeComplete {
		return nil, errors.New("the connection is not encrypted; nothing was sent")
	}
	return client, nil
}

// secure puts TLS on a connection where it comes first.
func (s *SMTP) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if s.tls == nil || s.config.Security != SecuritySSL {
		return conn, nil
	}
	secure := tls.Client(conn, s.tls)
	err := s.step(StepTLS, func() (string, error) {
		if err := secure.HandshakeContext(ctx); err != nil {
			return "", err
		}
		return s.secured(secure.ConnectionState()), nil
	})
	return secure, err
}

func (s *SMTP) startTLS(client *smtp.Client) (detail string, err error) {
	if offered, _ := client.Extension("STARTTLS"); !offered {
		return "", errNoSTARTTLS
	}
	if err := client.StartTLS(s.tls); err != nil {
		return "", err
	}
	state, _ := client.TLSConnectionState()
	return s.secured(state), nil
}

// signIn authenticates (RFC 4954) by a mechanism that was offered after TLS: what
// an attacker may have offered before does not count.
func (s *SMTP) signIn(client *smtp.Client) error {
	_, list := client.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(list))
	err := s.step(StepSignIn, func() (string, error) {
		switch user := s.config.Username; {
		case slices.Contains(offered, "PLAIN"):
			return "PLAIN", client.Auth(smtp.PlainAuth("", user, s.password(), s.config.Host, false))
		case slices.Contains(offered, "LOGIN"):
			return "LOGIN", client.Auth(smtp.LoginAuth(user, s.password(), s.config.Host, false))
		}
		return "", errNoMechanism
	})
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
