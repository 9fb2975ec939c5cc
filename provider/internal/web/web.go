// Package web is what every door needs of HTTP before it can do its own work: who
// is asking, from where, and how an answer that is not a page is written.
//
// Its invariant: nothing that a peer says about itself or about this server is
// believed. Where a request comes from is the peer's address, unless the peer is
// a configured proxy; whether a form was ours is what the browser says about its
// origin, compared with the configured issuer, never with the Host header.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/secrets"
)

// An Inbound judges requests for one issuer. It is immutable and safe for
// concurrent use.
type Inbound struct {
	origin  string
	proxies []netip.Prefix
	log     *slog.Logger
}

// New returns an Inbound for an issuer behind the given proxies, networks in CIDR
// notation.
func New(issuer string, proxies []string, log *slog.Logger) (*Inbound, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("web: the issuer %q is not a URL", issuer)
	}
	in := &Inbound{origin: u.Scheme + "://" + u.Host, log: log}
	for _, p := range proxies {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("web: trusted proxy: %w", err)
		}
		in.proxies = append(in.proxies, prefix)
	}
	return in, nil
}

// Source returns where the request comes from: the nearest address on its way
// that is not a trusted proxy. The zero Addr means that it cannot be told.
func (in *Inbound) Source(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	source := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && in.trusted(source); i-- {
		hop, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		source = hop
	}
	return source
}

// parseHop reads one entry of X-Forwarded-For; some proxies add the port.
func parseHop(s string) (netip.Addr, bool) {
	if hop, err := netip.ParseAddr(s); err == nil {
		return hop.Unmap(), true
	}
	hop, err := netip.ParseAddrPort(s)
	return hop.Addr().Unmap(), err == nil
}

func (in *Inbound) trusted(a netip.Addr) bool {
	for _, p := range in.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// OwnForm reports whether a POST comes from a page of ours, as far as the browser
// says: by Sec-Fetch-Site and by Origin, each where it is sent. The Origin of a form
// of ours is "null", because our pages are served with Referrer-Policy: no-referrer
// (Fetch standard, append a request Origin header); so is that of a stranger's
// sandboxed frame, which Sec-Fetch-Site gives away. A browser too old to send that
// is judged by the form's token alone.
func (in *Inbound) OwnForm(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return false
	}
	origin := r.Header.Get("Origin")
	return origin == "" || origin == "null" || origin == in.origin
}

// Own reports whether the origin is the issuer's own.
func (in *Inbound) Own(origin string) bool { return origin == in.origin }

type requestIDKey struct{}

// WithRequestID gives every request an id of our own, for the log and for the
// person who reports an error. Ids that the peer sends are not taken over.
func WithRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := secrets.NewID()
		w.Header().Set("X-Request-Id", id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

// RequestID returns the id of the request that ctx belongs to, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// WriteJSON writes v with the status, never to be stored.
func (in *Inbound) WriteJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		in.log.LogAttrs(r.Context(), slog.LevelError, "an answer could not be encoded",
			slog.String("request_id", RequestID(r.Context())), slog.Any("err", err))
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body) // a peer that went away is nobody's error
}

// OutagePause is how long whoever meets an outage is asked to wait.
const OutagePause = 5 * time.Second

// RetryAfter asks whoever gets the answer to wait before asking again, in whole seconds
// (RFC 9110 section 10.2.3).
func RetryAfter(h http.Header, wait time.Duration) {
	h.Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
}

// WriteError writes an OAuth error as JSON (RFC 6749 section 5.2) and logs its
// cause, if it is ours, once.
func (in *Inbound) WriteError(w http.ResponseWriter, r *http.Request, e *oauth.Error) {
	in.LogError(r, e)
	switch e.Status {
	case http.StatusUnauthorized:
		if w.Header().Get("WWW-Authenticate") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+in.origin+`", charset="UTF-8"`)
		}
	case http.StatusServiceUnavailable:
		RetryAfter(w.Header(), OutagePause)
	}
	in.WriteJSON(w, r, e.Status, e)
}

// LogError logs what went wrong on our side; what a caller did wrong is logged for
// debugging only.
func (in *Inbound) LogError(r *http.Request, err error) {
	status := http.StatusInternalServerError
	if e := (*oauth.Error)(nil); errors.As(err, &e) {
		status = e.Status
	}
	in.Log(r, status, err)
}

// Log is LogError for an error that was answered with the status.
func (in *Inbound) Log(r *http.Request, status int, err error) {
	level := slog.LevelDebug
	if status >= 500 {
		level = slog.LevelError
	}
	if errors.Is(err, context.Canceled) {
		level = slog.LevelDebug // the caller went away
	}
	in.log.LogAttrs(r.Context(), level, "request failed",
		slog.String("request_id", RequestID(r.Context())), slog.String("method", r.Method),
		slog.String("path", r.URL.Path), slog.Any("err", err))
}
