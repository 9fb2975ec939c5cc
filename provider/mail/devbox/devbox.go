// Package devbox shows on a page the mails that a development server would have
// sent, so that nobody needs a mail server to try the provider.
//
// Its invariant: what it shows never leaves this machine, and what it shows
// cannot act. It answers only requests that were made to a loopback host name,
// runs no script, and shows the HTML of a mail in a sandbox that loads nothing.
package devbox

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/mail"
)

// Config is what a Box needs to know.
type Config struct {
	// Prefix is the path of the page, such as /dev/mailbox. The JSON form is at
	// Prefix + "/messages.json"; there are no other paths. Required.
	Prefix string

	// MaxMessages is how many of the newest mails are kept. Default 200.
	MaxMessages int

	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// A Box is a [mail.Mailer] that keeps the newest mails in memory and an
// [http.Handler] that shows them. It is safe for concurrent use. Whoever mounts it
// sees to it that the server is reached from this machine only.
type Box struct {
	prefix string
	max    int
	now    func() time.Time
	texts  *messages.Catalogue
	page   *template.Template

	mu     sync.Mutex
	last   int // the number of the newest mail
	newest []received
}

// received is one mail in the box.
type received struct {
	Number int
	mail.Message
	At time.Time
}

// New returns an empty box.
func New(config Config) (*Box, error) {
	b := &Box{prefix: config.Prefix, max: config.MaxMessages, now: config.Now}
	if !strings.HasPrefix(b.prefix, "/") || path.Clean(b.prefix) != b.prefix || b.prefix == "/" {
		return nil, errors.New("development mailbox: the prefix must be a clean path such as /dev/mailbox")
	}
	if b.max < 0 {
		return nil, errors.New("development mailbox: the number of mails to keep must not be negative")
	}
	if b.max == 0 {
		b.max = 200
	}
	if b.now == nil {
		b.now = time.Now
	}
	var err error
	if b.texts, err = messages.New(); err != nil {
		return nil, fmt.Errorf("development mailbox: %w", err)
	}
	if b.page, err = template.New("page.html.tmpl").ParseFS(files, "page.html.tmpl"); err != nil {
		return nil, fmt.Errorf("development mailbox: %w", err)
	}
	return b, nil
}

// Send implements [mail.Mailer]: it keeps m and forgets the oldest mail if there
// are too many.
func (b *Box) Send(ctx context.Context, m mail.Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("put a mail into the development mailbox: %w", err)
	}
	if _, err := mail.ParseAddress(m.To); err != nil {
		return fmt.Errorf("%w: %w", mail.ErrRejected, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.newest = slices.Insert(b.newest, 0, received{Number: b.last, Message: m, At: b.now()})
	if len(b.newest) > b.max {
		clear(b.newest[b.max:])
		b.newest = b.newest[:b.max]
	}
	return nil
}

// all returns the mails, newest first.
func (b *Box) all() []received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.newest)
}

// find returns the mail of a number.
func (b *Box) find(number int) (received, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.newest, func(r received) bool { return r.Number == number })
	if i < 0 {
		return received{}, false
	}
	return b.newest[i], true
}

// ServeHTTP shows the list at the prefix, one mail at the prefix with ?mail=number,
// and all of them as JSON at the prefix + "/messages.json". A request to a host
// name that is not a loopback one is refused: a page elsewhere that had its own
// name point here (DNS rebinding) would read the codes.
func (b *Box) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	// Mails have inline styles, so styles are allowed; nothing else is, in the
	// sandboxed frame as well, which inherits this.
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	switch {
	case !loopback(r.Host):
		http.Error(w, "403 this mailbox is for a loopback host name only", http.StatusForbidden)
	case r.URL.Path != b.prefix && r.URL.Path != b.prefix+"/" && r.URL.Path != b.prefix+"/messages.json":
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
	case strings.HasSuffix(r.URL.Path, "/messages.json"):
		b.serveJSON(w)
	default:
		b.servePage(w, r)
	}
}

// loopback reports whether a Host header names this machine whatever DNS says
// (RFC 6761 section 6.3).
func loopback(hostport string) bool {
	host := hostport
	if h, port, err := net.SplitHostPort(hostport); err == nil {
		if strings.Trim(port, "0123456789") != "" {
			return false
		}
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
