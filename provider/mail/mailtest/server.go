package mailtest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// ServerConfig says what kind of mail server to start. The zero value is a good
// one that offers STARTTLS and wants no password.
type ServerConfig struct {
	// ImplicitTLS speaks TLS from the first byte and offers no STARTTLS.
	ImplicitTLS bool

	// NoSTARTTLS does not offer STARTTLS.
	NoSTARTTLS bool

	// Certificate is what is wrong with the certificate. Default nothing.
	Certificate CertificateFault

	// MaxTLS is the newest version it speaks, such as tls.VersionTLS10. Default
	// all, and nothing older than TLS 1.2.
	MaxTLS uint16

	// Username and Password are wanted before MAIL, if set.
	Username, Password string

	// Mechanisms are the AUTH mechanisms offered after TLS. Default PLAIN and
	// LOGIN if there is a Username, otherwise none.
	Mechanisms string

	// MechanismsBeforeTLS are offered before TLS. Default none.
	MechanismsBeforeTLS string
}

// The steps of a conversation that a Fault can be set for. Others are the
// commands' own names.
const (
	OnConnect = "CONNECT" // instead of the greeting
	OnTLS     = "TLS"     // instead of the TLS handshake, after STARTTLS was accepted
	OnContent = "."       // after the end of the content
)

// A Fault is what the server does at a step instead of the right thing.
type Fault struct {
	// Reply is sent as it is, with CRLF added. Where it is not a refusal, the
	// conversation goes on as if it were the right answer.
	Reply string

	// After is sent directly after the reply, right or wrong, in the same segment.
	After string

	// Delay is how long the server thinks before it answers.
	Delay time.Duration

	// Cut closes the connection, after the Reply if there is one.
	Cut bool

	// Hang reads on and answers nothing more.
	Hang bool

	// Drip sends a continued reply one byte each time the channel delivers,
	// without ever ending it.
	Drip <-chan struct{}
}

// A Conversation is what one client said.
type Conversation struct {
	// Clear is every byte that came before TLS, and everything without TLS.
	Clear []byte

	// Commands are the lines outside of contents, before and after TLS. What was
	// said in answer to an AUTH challenge is among them.
	Commands []string

	// Mails are the contents that arrived in full, acknowledged or not.
	Mails []Delivery
}

// A Delivery is one mail as it came over the wire.
type Delivery struct {
	From, To string // the parameters of MAIL and RCPT, e.g. "FROM:<a@b.example>"
	Raw      []byte // as received, with dot-stuffing, without the final dot
	TLS      bool
}

// A Server is a mail server on a port of this machine, for clients under test. It
// speaks enough of SMTP for one mail per connection, and misbehaves as told.
type Server struct {
	// Host and Port are where it listens.
	Host string
	Port int

	// RootCAs is the authority that its certificate is from.
	RootCAs *x509.CertPool

	// RootsPEM is the same authority as a file has it.
	RootsPEM []byte

	config   ServerConfig
	tls      *tls.Config
	listener net.Listener
	done     chan struct{} // closed by close: ends whoever hangs
	running  sync.WaitGroup

	mu            sync.Mutex
	faults        map[string]Fault
	conns         map[net.Conn]bool
	conversations []*Conversation
}

// NewServer starts a server that stops when the test ends.
func NewServer(t testing.TB, config ServerConfig) *Server {
	t.Helper()
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := a.issue(config.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start a mail server: %v", err)
	}
	if config.Mechanisms == "" && config.Username != "" {
		config.Mechanisms = "PLAIN LOGIN"
	}
	address := listener.Addr().(*net.TCPAddr)
	s := &Server{
		Host: address.IP.String(), Port: address.Port, RootCAs: x509.NewCertPool(),
		config: config, listener: listener, done: make(chan struct{}),
		tls:    &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		faults: make(map[string]Fault), conns: make(map[net.Conn]bool),
	}
	s.RootCAs.AddCert(a.certificate)
	s.RootsPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
	if config.MaxTLS != 0 {
		s.tls.MinVersion, s.tls.MaxVersion = config.MaxTLS, config.MaxTLS
	}
	s.running.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// Fault makes the server misbehave at a step from now on: a command's name in
// capitals, or one of the On… constants. A zero Fault ends it.
func (s *Server) Fault(step string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[step] = f
}

// Conversations returns what the clients have said so far, in the order in which
// they came.
func (s *Server) Conversations() []Conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Conversation, len(s.conversations))
	for i, c := range s.conversations {
		list[i] = Conversation{
			Clear:    slices.Clone(c.Clear),
			Commands: slices.Clone(c.Commands),
			Mails:    slices.Clone(c.Mails),
		}
	}
	return list
}

// Mails returns the contents of all conversations.
func (s *Server) Mails() []Delivery {
	var mails []Delivery
	for _, c := range s.Conversations() {
		mails = append(mails, c.Mails...)
	}
	return mails
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		talk := &conversation{server: s, conn: conn, record: &Conversation{}}
		s.mu.Lock()
		s.conns[conn] = true
		s.conversations = append(s.conversations, talk.record)
		s.mu.Unlock()
		s.running.Go(func() {
			talk.run()
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

func (s *Server) close() {
	close(s.done)
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (s *Server) fault(step string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults[step]
}
