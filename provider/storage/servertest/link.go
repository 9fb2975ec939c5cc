package servertest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	chunkSize = 64 << 10
	// tailSize is how much of a request is remembered for a match that is
	// split over two reads.
	tailSize = 1 << 10
	// readySize is the size of Postgres' ReadyForQuery.
	readySize = 6
)

// A link is one client's connection through a proxy.
type link struct {
	proxy  *Proxy
	client net.Conn

	once   sync.Once
	done   chan struct{} // closed when the link has ended
	mu     sync.Mutex
	server net.Conn // nil before the target is reached

	lost     atomic.Bool // something was swallowed: silent for good
	cutting  atomic.Bool // the answer that comes is dropped
	postgres atomic.Bool // the client speaks the protocol of Postgres
}

// end closes both connections, the client's with a TCP reset when it is to be so.
func (l *link) end(reset bool) {
	l.once.Do(func() {
		close(l.done)
		if tcp, ok := l.client.(*net.TCPConn); ok && reset {
			tcp.SetLinger(0)
		}
		l.client.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.server != nil {
			l.server.Close()
		}
	})
}

// run passes bytes both ways until the link ends.
func (l *link) run() {
	defer l.end(false)
	if l.swallows() {
		io.Copy(io.Discard, l.client)
		return
	}
	server, err := net.DialTimeout("tcp", l.proxy.target, commandPatience)
	if err != nil {
		return // a target that refuses looks like this to the client
	}
	if !l.reach(server) {
		return
	}
	var answers sync.WaitGroup
	answers.Go(func() { l.answers(server) })
	l.requests(server)
	answers.Wait()
}

// reach leaves the closing of server to end, and tells whether that is to come.
func (l *link) reach(server net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = server
	select {
	case <-l.done:
		server.Close()
		return false
	default:
		return true
	}
}

// requests passes on what the client sends.
func (l *link) requests(server net.Conn) {
	buffer := make([]byte, chunkSize)
	var before []byte // the end of what came before
	for first := true; ; first = false {
		n, err := l.client.Read(buffer)
		if err != nil {
			l.finish(server)
			return
		}
		chunk := buffer[:n]
		if first {
			// A client of Postgres begins with the length of its message, one
			// of Redis with text.
			l.postgres.Store(chunk[0] == 0)
		}
		if l.swallows() {
			continue
		}
		if !l.cutting.Load() {
			switch l.proxy.take(before, chunk) {
			case cutReply:
				l.cutting.Store(true)
			case cutRequest:
				server.Write(chunk[:n/2])
				l.proxy.count()
				l.end(false)
				return
			}
		}
		before = append(before, chunk...)
		before = bytes.Clone(before[max(0, len(before)-tailSize):])
		if _, err := server.Write(chunk); err != nil {
			l.finish(l.client)
			return
		}
	}
}

// answers passes on what the server sends.
func (l *link) answers(server net.Conn) {
	buffer := make([]byte, chunkSize)
	var dropped []byte // the end of an answer that is cut
	for {
		n, err := server.Read(buffer)
		if err != nil {
			l.finish(l.client)
			return
		}
		chunk := buffer[:n]
		if l.cutting.Load() {
			dropped = append(dropped, chunk...)
			dropped = bytes.Clone(dropped[max(0, len(dropped)-readySize):])
			if l.executed(dropped) {
				l.proxy.count()
				l.end(false)
				return
			}
			continue
		}
		if !l.hold() || l.swallows() {
			continue
		}
		if _, err := l.client.Write(chunk); err != nil {
			l.finish(server)
			return
		}
	}
}

// executed tells from the end of what the server has answered whether it has
// done what it was asked to. Redis answers then and not before. Postgres may
// send rows before it commits, but not that it is ready for another query.
func (l *link) executed(answer []byte) bool {
	if !l.postgres.Load() {
		return len(answer) > 0
	}
	return len(answer) == readySize && bytes.HasPrefix(answer, []byte{'Z', 0, 0, 0, 5})
}

// swallows tells whether what has come is lost, and all that follows with it.
func (l *link) swallows() bool {
	if m, _, _ := l.proxy.now(); m == silent {
		l.lost.Store(true)
	}
	return l.lost.Load()
}

// hold returns when an answer that has come may be passed on, or false when the
// link has ended.
func (l *link) hold() bool {
	for {
		m, wait, changed := l.proxy.now()
		if m != delay {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			return true
		case <-changed: // look again
		case <-l.done:
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// finish tells one side that the other has ended. While the proxy is silent that
// is lost too: the server keeps a session whose client has gone.
func (l *link) finish(side net.Conn) {
	for {
		m, _, changed := l.proxy.now()
		if m != silent {
			break
		}
		l.lost.Store(true)
		select {
		case <-changed:
		case <-l.done:
			return
		}
	}
	if tcp, ok := side.(*net.TCPConn); ok && !l.lost.Load() {
		tcp.CloseWrite()
		return
	}
	l.end(false)
}
