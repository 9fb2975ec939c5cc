package mailtest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"time"
)

// conversation is the server's side of one connection.
type conversation struct {
	server *Server
	record *Conversation // guarded by server.mu
	conn   net.Conn      // TCP, or TLS over it
	in     *bufio.Reader

	secure, signedIn bool
	from, to         string
}

// run speaks until one side has had enough.
func (c *conversation) run() {
	if c.server.config.ImplicitTLS && !c.startTLS() {
		return
	}
	if c.in == nil {
		c.in = bufio.NewReader(clearReader{c})
	}
	if !c.answer(OnConnect, "220 mailtest ready") {
		return
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		c.note(line)
		verb, rest, _ := strings.Cut(line, " ")
		if !c.command(strings.ToUpper(verb), rest) {
			return
		}
	}
}

// command answers one command and reports whether the conversation goes on.
func (c *conversation) command(verb, rest string) bool {
	config := c.server.config
	switch verb {
	case "EHLO":
		return c.answer(verb, c.greeting())
	case "HELO", "NOOP", "RSET":
		return c.answer(verb, "250 OK")
	case "STARTTLS":
		return c.answer(verb, "220 go ahead") && c.startTLS()
	case "AUTH":
		return c.authenticate(rest)
	case "MAIL":
		if config.Username != "" && !c.signedIn {
			return c.answer(verb, "530 5.7.0 authentication required")
		}
		c.from = rest
		return c.answer(verb, "250 2.1.0 OK")
	case "RCPT":
		c.to = rest
		return c.answer(verb, "250 2.1.5 OK")
	case "DATA":
		reply := c.server.fault(verb).Reply
		return c.answer(verb, "354 go on") && (refusal(reply) || c.content())
	case "QUIT":
		c.answer(verb, "221 bye")
		return false
	}
	return c.answer(verb, "500 5.5.2 unknown command")
}

func (c *conversation) greeting() string {
	config := c.server.config
	lines := []string{"mailtest", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"}
	mechanisms := config.MechanismsBeforeTLS
	if c.secure {
		mechanisms = config.Mechanisms
	} else if !config.NoSTARTTLS {
		lines = append(lines, "STARTTLS")
	}
	if mechanisms != "" {
		lines = append(lines, "AUTH "+mechanisms)
	}
	return "250-" + strings.Join(lines[:len(lines)-1], "\r\n250-") + "\r\n250 " + lines[len(lines)-1]
}

// answer sends the right reply, or does what the step's fault says. It reports
// whether the conversation goes on.
func (c *conversation) answer(step, right string) bool {
	f := c.server.fault(step)
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-c.server.done:
			return false
		}
	}
	switch {
	case f.Hang:
		io.Copy(io.Discard, c.conn) // until somebody closes it
		return false
	case f.Drip != nil:
		c.drip(f.Drip)
		return false
	case f.Cut && f.Reply == "":
		return false
	case f.Reply != "":
		right = f.Reply
	}
	_, err := io.WriteString(c.conn, right+"\r\n"+f.After)
	return err == nil && !f.Cut
}

func (c *conversation) drip(tick <-chan struct{}) {
	reply := "250-" + strings.Repeat("x", 100) + "\r\n"
	for i := 0; ; i++ {
		select {
		case <-tick:
		case <-c.server.done:
			return
		}
		if _, err := io.WriteString(c.conn, reply[i%len(reply):i%len(reply)+1]); err != nil {
			return
		}
	}
}

// startTLS goes on under TLS. What is buffered from before is dropped.
func (c *conversation) startTLS() bool {
	if f := c.server.fault(OnTLS); f != (Fault{}) {
		return c.answer(OnTLS, "")
	}
	secure := tls.Server(c.conn, c.server.tls)
	if err := secure.Handshake(); err != nil {
		return false
	}
	c.conn, c.in, c.secure = secure, bufio.NewReader(secure), true
	return true
}

// authenticate understands PLAIN with an initial response, and LOGIN.
func (c *conversation) authenticate(rest string) bool {
	mechanism, initial, _ := strings.Cut(rest, " ")
	config := c.server.config
	var ok bool
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		ok = decode(initial) == "\x00"+config.Username+"\x00"+config.Password
	case "LOGIN":
		username, sent := c.challenge("Username:")
		if !sent {
			return false
		}
		password, sent := c.challenge("Password:")
		if !sent {
			return false
		}
		ok = username == config.Username && password == config.Password
	}
	reply := c.server.fault("AUTH").Reply
	if !ok {
		return c.answer("AUTH", "535 5.7.8 wrong username or password")
	}
	c.signedIn = !refusal(reply)
	return c.answer("AUTH", "235 2.7.0 welcome")
}

func (c *conversation) challenge(text string) (string, bool) {
	if _, err := io.WriteString(c.conn, "334 "+base64.StdEncoding.EncodeToString([]byte(text))+"\r\n"); err != nil {
		return "", false
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", false
	}
	line = strings.TrimSpace(line)
	c.note(line)
	return decode(line), true
}

func decode(s string) string {
	b, _ := base64.StdEncoding.DecodeString(s)
	return string(b)
}

// content reads up to the final dot and answers it.
func (c *conversation) content() bool {
	var raw []byte
	for {
		line, err := c.in.ReadBytes('\n')
		if err != nil {
			return false
		}
		if string(line) == ".\r\n" {
			break
		}
		raw = append(raw, line...)
	}
	c.server.mu.Lock()
	c.record.Mails = append(c.record.Mails, Delivery{From: c.from, To: c.to, Raw: raw, TLS: c.secure})
	c.server.mu.Unlock()
	return c.answer(OnContent, "250 2.0.0 queued")
}

func (c *conversation) note(line string) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.record.Commands = append(c.record.Commands, line)
}

func refusal(reply string) bool {
	return strings.HasPrefix(reply, "4") || strings.HasPrefix(reply, "5")
}

// clearReader records what comes without TLS.
type clearReader struct{ c *conversation }

func (r clearReader) Read(p []byte) (int, error) {
	n, err := r.c.conn.Read(p)
	r.c.server.mu.Lock()
	r.c.record.Clear = append(r.c.record.Clear, p[:n]...)
	r.c.server.mu.Unlock()
	return n, err
}
