package mail

import (
	"context"
	"errors"
	"net"
	"time"
)

// maxReceived bounds what a server may say in one conversation.
const maxReceived = 1 << 20

var errTalkative = errors.New("the server talks without end")

// A stepConn is a connection on which every step of the conversation has a
// deadline: it starts when we have said something, and answering byte by byte
// does not extend it. The end of the context closes the connection, so it bounds
// the whole. Deadlines that others set are ignored; they would start anew with
// every call.
type stepConn struct {
	net.Conn
	step     time.Duration
	received int
	stop     func() bool
}

// newStepConn takes over conn, whose first step begins now: the server's greeting.
func newStepConn(ctx context.Context, conn net.Conn, step time.Duration) (*stepConn, error) {
	if err := conn.SetDeadline(time.Now().Add(step)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return &stepConn{Conn: conn, step: step, stop: stop}, nil
}

func (c *stepConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetDeadline(time.Now().Add(c.step)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *stepConn) Read(p []byte) (int, error) {
	if c.received >= maxReceived {
		return 0, errTalkative
	}
	n, err := c.Conn.Read(p)
	c.received += n
	return n, err
}

func (c *stepConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

func (c *stepConn) SetDeadline(time.Time) error      { return nil }
func (c *stepConn) SetReadDeadline(time.Time) error  { return nil }
func (c *stepConn) SetWriteDeadline(time.Time) error { return nil }
