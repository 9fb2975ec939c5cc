package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"time"

	"github.com/lettergate/lettergate/config"
)

// The values of SMTPConfig.Security.
const (
	SecuritySSL      = "ssl"
	SecuritySTARTTLS = "starttls"
)

// SMTPConfig says how to reach a mail server.
type SMTPConfig struct {
	// Host is the server's name, which its certificate must be for. Required.
	Host string

	// Port defaults to 465 for ssl, 587 for starttls and 25 for plaintext.
	Port int

	// Security is SecuritySSL, TLS from the first byte, or SecuritySTARTTLS, TLS
	// before anything is said. Default SecuritySTARTTLS. There is no third.
	Security string

	// Username and Password sign in, over TLS only. Without a Username nobody
	// signs in.
	Username string
	Password config.Secret

	// From is the sender, "name <address>" or a bare address. It is the only name
	// in the header of a mail. Required.
	From string

	// HELO is how we introduce ourselves. Default the domain of From.
	HELO string

	// RootCAs are the authorities to trust. Default the system's.
	RootCAs *x509.CertPool

	// InsecurePlaintext sends without TLS, whatever Security says. It is refused
	// unless Host is this machine, and with a Username.
	InsecurePlaintext bool

	// Timeout bounds one Send, waiting for a free connection included. Default 30s.
	Timeout time.Duration

	// StepTimeout bounds connecting and each answer of the server. Default 10s.
	StepTimeout time.Duration

	// Connections is how many may be open at once. Default 4.
	Connections int

	// Logger is told what an operator has to repair. Default none.
	Logger *slog.Logger

	// Now is the clock of the Date header. Default time.Now.
	Now func() time.Time

	// Trace is told each step of each conversation when it is over, by the goroutine
	// that sends. It is for trying out a server: a Step repeats what the server says,
	// other than what it says to a password, and a server may repeat the message.
	// Default none.
	Trace func(Step)
}

// authPause is how long nobody tries to sign in after the server has refused our
// password: trying once a mail would get the account locked.
const authPause = time.Minute

// SMTP sends each message over its own connection to one mail server (RFC 5321).
// It is safe for concurrent use.
type SMTP struct {
	config   SMTPConfig    // without the password
	password func() string // a function, because fmt prints unexported fields
	tls      *tls.Config   // nil: plaintext to this machine
	from     netmail.Address
	slots    chan struct{}
	logger   *slog.Logger
	now      func() time.Time

	mu         sync.Mutex
	pauseUntil time.Time // nobody signs in before
	quietUntil time.Time // no failure is logged before
}

// NewSMTP checks the configuration and opens no connection.
func NewSMTP(c SMTPConfig) (*SMTP, error) {
	s := &SMTP{config: c, password: c.Password.Reveal, logger: c.Logger, now: c.Now}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.configure(); err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	s.config.Password = ""
	s.slots = make(chan struct{}, s.config.Connections)
	if !s.config.InsecurePlaintext {
		s.tls = &tls.Config{ServerName: s.config.Host, RootCAs: s.config.RootCAs, MinVersion: tls.VersionTLS12}
	}
	return s, nil
}

// configure fills in the defaults and refuses what cannot work or is not safe.
func (s *SMTP) configure() error {
	c := &s.config
	if c.Host == "" || strings.Trim(c.Host, letters+digits+".-:") != "" {
		return errors.New("the host must be a name or an IP address")
	}
	if c.Security == "" {
		c.Security = SecuritySTARTTLS
	}
	if c.Security != SecuritySSL && c.Security != SecuritySTARTTLS {
		return fmt.Errorf("security must be %s or %s", SecuritySSL, SecuritySTARTTLS)
	}
	if c.InsecurePlaintext && !loopback(c.Host) {
		return errors.New("plaintext is refused unless the host is this machine")
	}
	if c.InsecurePlaintext && c.Username != "" {
		return errors.New("plaintext is refused with a username: it would show the password")
	}
	if c.Username == "" && c.Password != "" {
		return errors.New("a password without a username")
	}
	if strings.ContainsAny(c.Username+c.Password.Reveal(), "\x00\r\n") {
		return errors.New("the username or password has a line break or NUL")
	}
	if c.Port == 0 {
		c.Port = c.defaultPort()
	}
	if c.Port < 1 || c.Port > 65535 {
		return errors.New("the port must be 1 to 65535")
	}
	if c.Timeout < 0 || c.StepTimeout < 0 || c.Connections < 0 {
		return errors.New("timeouts and the number of connections must not be negative")
	}
	c.Timeout = orDefault(c.Timeout, 30*time.Second)
	c.StepTimeout = orDefault(c.StepTimeout, 10*time.Second)
	c.Connections = orDefault(c.Connections, 4)

	from, domain, err := parseFrom(c.From)
	if err != nil {
		return err
	}
	s.from = from
	c.HELO = orDefault(c.HELO, domain)
	if strings.Trim(c.HELO, letters+digits+".-:[]") != "" {
		return errors.New("the HELO name must be a domain name or an address literal")
	}
	return nil
}

func (c *SMTPConfig) defaultPort() int {
	switch {
	case c.InsecurePlaintext:
		return 25
	case c.Security == SecuritySSL:
		return 465
	}
	return 587
}

func orDefault[T comparable](value, def T) T {
	var zero T
	if value == zero {
		return def
	}
	return value
}

// parseFrom reads the sender. Unlike a recipient it may be at localhost, which a
// development server without a domain of its own uses.
func parseFrom(s string) (from netmail.Address, domain string, err error) {
	parsed, err := netmail.ParseAddress(s)
	if err != nil || !printable(parsed.Name) {
		return from, "", errors.New(`the sender (from) must be "name <address>" or an address`)
	}
	if local, ok := strings.CutSuffix(parsed.Address, "@localhost"); ok && dotAtom(local) {
		return *parsed, "localhost", nil
	}
	a, err := ParseAddress(parsed.Address)
	if err != nil {
		return from, "", fmt.Errorf("the sender (from): %w", err)
	}
	return netmail.Address{Name: parsed.Name, Address: a.String()}, a.Domain(), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Send implements [Mailer]. A 5xx answer to the recipient or to the content
// rejects the message. A refused sender or password is ours to repair, not the
// recipient's fault, and is therefore temporary.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	e, err := s.render(m)
	if err != nil {
		return err
	}
	if !m.Expires.IsZero() && !s.now().Before(m.Expires) {
		return errors.New("the mail has expired")
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection to the mail server: %w", ctx.Err())
	}
	if s.paused() {
		return fmt.Errorf("the mail server refused our password: not trying again for %s", authPause)
	}
	err = s.deliver(ctx, e)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrRejected) {
		// The connection was closed under the conversation; this is why.
		err = fmt.Errorf("%w: %w", err, ctx.Err())
	}
	if err != nil && s.tells() {
		s.logger.Warn("a mail was not sent", "host", s.config.Host, "port", s.config.Port, "err", err)
	}
	return err
}

// tellEvery is how often a mail server that fails is reported: it fails for every
// mail that waits.
const tellEvery = time.Minute

// tells reports whether a failure is to be logged now.
func (s *SMTP) tells() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.Before(s.quietUntil) {
		return false
	}
	s.quietUntil = now.Add(tellEvery)
	return true
}
