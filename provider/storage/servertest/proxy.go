package servertest

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// A mode is what a proxy does with what passes through it.
type mode int

const (
	pass mode = iota
	refuse
	reset
	silent
	delay
)

// A cut is what a proxy does with a request that matches.
type cut int

const (
	cutNothing cut = iota
	cutReply
	cutRequest
)

// A Proxy stands between a client and a server on TCP and does harm when it is
// told to. It begins with Pass. The methods that change what it does work at
// once, for new connections and for those there are. Its methods are for
// concurrent use.
type Proxy struct {
	// Addr is where clients connect: 127.0.0.1 and a port.
	Addr string

	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex
	mode     mode
	wait     time.Duration // with delay
	changed  chan struct{} // closed when mode is another one
	links    map[*link]struct{}
	accepted int
	closed   bool

	cut   cut
	match []byte // in lower case
	left  int    // how often cut is still to be done
	fired int
}

// NewProxy starts a proxy for the server at target, a host and a port. It ends
// with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := StartProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report(t, p.Close()) })
	return p
}

// StartProxy is NewProxy where there is no test to end the proxy: who calls it
// calls Close.
func StartProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", address(0))
	if err != nil {
		return nil, fmt.Errorf("start a proxy: %w", err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), target: target, listener: l,
		changed: make(chan struct{}), links: make(map[*link]struct{}),
	}
	p.running.Go(p.serve)
	return p, nil
}

// Pass passes everything on, which undoes all that was said before, CutReply and
// CutRequest included.
func (p *Proxy) Pass() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.left = cutNothing, 0
	p.set(pass)
}

// Refuse closes each connection as soon as it is made, and those there are.
func (p *Proxy) Refuse() { p.change(refuse, 0) }

// Reset is Refuse by a TCP reset, as from a host that has started anew.
func (p *Proxy) Reset() { p.change(reset, 0) }

// Silent takes connections and all that clients and the server send, and passes
// nothing on, not even that one of them has closed its side: a network that
// loses every packet. A connection that was made then or has lost something
// stays silent when the proxy does another thing.
func (p *Proxy) Silent() { p.change(silent, 0) }

// Delay passes on what the server sends d later.
func (p *Proxy) Delay(d time.Duration) { p.change(delay, d) }

// CutReply loses the answers to the next n requests that hold match, upper or
// lower case: the server gets the request and answers, and then the connection
// is closed without a byte of the answer. It comes on top of Pass or Delay, and
// ends a CutRequest.
//
// A request is what a client sends before it awaits an answer: match finds
// nothing in TLS. A client of Postgres that prepares its statements sends their
// text beforehand, so match should be a value and not a statement, or COMMIT.
func (p *Proxy) CutReply(match string, n int) { p.arm(cutReply, match, n) }

// CutRequest loses the second half of the next n requests that hold match, upper
// or lower case: the server gets the first half, and then the connection is
// closed. It comes on top of Pass or Delay, and ends a CutReply.
func (p *Proxy) CutRequest(match string, n int) { p.arm(cutRequest, match, n) }

// Fired is how many requests or answers were cut since CutReply or CutRequest
// was called last.
func (p *Proxy) Fired() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fired
}

// Accepted is how many connections clients have made, refused ones included.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Close ends the proxy and its connections. Further calls do nothing.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.set(refuse)
	p.mu.Unlock()
	err := p.listener.Close()
	p.running.Wait()
	return err
}

func (p *Proxy) change(m mode, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wait = wait
	p.set(m)
}

// set changes the mode, with mu held.
func (p *Proxy) set(m mode) {
	if p.closed {
		m = refuse
	}
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
	if m == refuse || m == reset {
		for l := range p.links {
			l.end(m == reset)
		}
	}
}

func (p *Proxy) arm(c cut, match string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.match, p.left, p.fired = c, bytes.ToLower([]byte(match)), n, 0
}

// take uses up one of the cuts that are left when chunk, or the end of what came
// before and chunk, hold what is to be cut.
func (p *Proxy) take(before, chunk []byte) cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left <= 0 || len(p.match) == 0 {
		return cutNothing
	}
	// So little of what came before that it holds no match of its own: that
	// has been answered.
	before = before[max(0, len(before)-len(p.match)+1):]
	text := bytes.ToLower(slices.Concat(before, chunk))
	if !bytes.Contains(text, p.match) {
		return cutNothing
	}
	p.left--
	return p.cut
}

func (p *Proxy) count() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fired++
}

// now is what to do with what has just come, and a channel that is closed when
// that is another thing.
func (p *Proxy) now() (mode, time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.wait, p.changed
}

// serve takes connections until the listener is closed.
func (p *Proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // it is closed
		}
		p.running.Go(func() { p.link(conn) })
	}
}

// link connects one client with the target, unless it is refused.
func (p *Proxy) link(client net.Conn) {
	l := &link{proxy: p, client: client, done: make(chan struct{})}
	p.mu.Lock()
	p.accepted++
	p.links[l] = struct{}{}
	if p.mode == refuse || p.mode == reset {
		l.end(p.mode == reset)
	}
	p.mu.Unlock()
	l.run()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}
