// Package outbound is the one way in which the provider asks others for something,
// at addresses that clients chose.
//
// Its invariant: only a public address is ever connected to. The address is judged
// when the connection is made, after the name was resolved, so a name that changes
// its mind gains nothing; a redirect is an answer like any other and leads nowhere;
// no proxy stands between; and no answer takes longer than [Timeout], weighs more
// than [MaxBody] or leaves a cookie. What the configuration lists as insecure may be
// anywhere and without TLS, and is otherwise treated the same.
//
// A request's way: the client's transport looks at its method and scheme, dials,
// judges the address, and counts what is read of the body.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// Timeout is how long a request may take, from the look-up of the name to the end
	// of the body.
	Timeout = 3 * time.Second
	// MaxBody is how many bytes of a body can be read, and maxHeader of its headers.
	MaxBody   = 64 << 10
	maxHeader = 16 << 10
)

// ErrRefused says that the request was not made, because of where it would have gone
// or what it was.
var ErrRefused = errors.New("outbound: refused")

var errTooLarge = fmt.Errorf("outbound: the answer has more than %d bytes", MaxBody)

// Config says what is allowed beyond public addresses by https.
type Config struct {
	// InsecureAllow are hosts as host:port, in lower case, just as URLs name them.
	InsecureAllow []string
	// CAFile is a PEM file of authorities to trust besides the system's. Default none.
	CAFile string
}

// New returns a client that keeps to the package's rules. It reads CAFile and makes
// no request.
func New(cfg Config) (*http.Client, error) {
	roots, err := authorities(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return newClient(cfg, roots, net.DefaultResolver), nil
}

func newClient(cfg Config, roots *x509.CertPool, resolver *net.Resolver) *http.Client {
	g := guard{insecure: make(map[string]bool, len(cfg.InsecureAllow))}
	for _, host := range cfg.InsecureAllow {
		g.insecure[host] = true
	}
	g.guarded = net.Dialer{Resolver: resolver, Control: publicOnly}
	g.open = net.Dialer{Resolver: resolver}
	g.next = &http.Transport{
		DialContext:     g.dial,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		// Each request is judged by a connection of its own, and a client's server
		// cannot keep one of ours.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	return &http.Client{
		Transport:     &g,
		Timeout:       Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// authorities reads a PEM file; without one nil stands for the system's.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("outbound.ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("outbound.ca_file: the system's authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("outbound.ca_file: %s holds no PEM certificate", file)
	}
	return pool, nil
}

// A guard is the transport that keeps the rules.
type guard struct {
	insecure      map[string]bool // host:port
	guarded, open net.Dialer
	next          *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.Method != http.MethodGet || r.Body != nil && r.Body != http.NoBody:
		return nil, fmt.Errorf("%w: only a GET without a body is sent", ErrRefused)
	case r.URL.Scheme == "http" && g.insecure[address(r)]:
	case r.URL.Scheme != "https":
		return nil, fmt.Errorf("%w: %s is not https", ErrRefused, address(r))
	}
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &bounded{resp.Body, MaxBody}
	return resp, nil
}

// address is where a request goes, as host:port.
func address(r *http.Request) string {
	port := r.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[r.URL.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(r.URL.Hostname()), port)
}

// dial connects to a host:port as the URL named it.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if g.insecure[strings.ToLower(addr)] {
		return g.open.DialContext(ctx, network, addr)
	}
	return g.guarded.DialContext(ctx, network, addr)
}

// publicOnly is called for each address of a name, before anything is sent to it.
func publicOnly(network, addr string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(addr)
	if err != nil || network != "tcp4" && network != "tcp6" || !public(at.Addr()) {
		return fmt.Errorf("%w: %s is not a public address", ErrRefused, addr)
	}
	return nil
}

// bounded is a body of which no more than left bytes are read.
type bounded struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader. An answer that is too large is an error, not a short
// answer.
func (b *bounded) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		n, err = b.left, errTooLarge
	}
	b.left -= n
	return n, err
}
