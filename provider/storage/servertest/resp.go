package servertest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const commandPatience = 5 * time.Second // for the answer to one command

// A RedisError is an error that Redis answers, such as "MOVED 7 127.0.0.1:7000".
type RedisError string

// Error is the answer's text.
func (e RedisError) Error() string { return string(e) }

// A Conn is one connection to a Redis server. It speaks RESP2 and is not for
// concurrent use. Who dials it closes it.
type Conn struct {
	conn net.Conn
	in   *bufio.Reader
}

// Do sends one command and returns its answer: a string, an int64, nil, or a
// []any of these and of RedisError. An answer that is an error is returned as a
// RedisError. Without an answer within five seconds Do fails, and the connection
// is of no more use.
func (c *Conn) Do(args ...string) (any, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	c.conn.SetDeadline(time.Now().Add(commandPatience))
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		return nil, fmt.Errorf("send a command to redis: %w", err)
	}
	answer, err := c.answer()
	if err != nil {
		return nil, fmt.Errorf("read the answer of redis: %w", err)
	}
	if e, ok := answer.(RedisError); ok {
		return nil, e
	}
	return answer, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

func (c *Conn) answer() (any, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, fmt.Errorf("an empty line")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return RedisError(rest), nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("not RESP2: %q", line)
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		text := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, text); err != nil {
			return nil, err
		}
		return string(text[:n]), nil
	case kind == '*':
		var list []any
		for range n {
			element, err := c.answer()
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		return list, nil
	}
	return nil, fmt.Errorf("not RESP2: %q", line)
}
