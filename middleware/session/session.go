package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

const (
	// What this process remembers, each at most: refreshes that have just been done,
	// sign-ins and logout tokens that were used, and sessions that were ended.
	maxRenewals = 4096
	maxSeen     = 16384
	maxEnded    = 65536

	renewalLife = 2 * time.Minute
	seenLife    = 2 * time.Hour // beyond the age of any flow and any logout token
)

// Sessions are the sessions of one app at one issuer. It is safe for concurrent
// use, and it has no goroutines but those of running requests to the issuer.
type Sessions struct {
	cfg     Config
	paths   paths
	log     *slog.Logger
	now     func() time.Time
	issuer  *issuer
	sealer  *sealer
	cookies cookies
	keep    keeper
	csrf    *http.CrossOriginProtection
	routes  *http.ServeMux
	page    *template.Template

	renewals *recent[*flight]
	seen     *recent[struct{}]
	ended    *recent[time.Time] // when, by key or group
}

// New returns the sessions that cfg describes, or an error that says everything
// that is wrong with it. It starts nothing and asks nobody, so an app starts while
// its issuer is down; sign-ins are answered 503 until it is up.
func New(cfg Config) (*Sessions, error) {
	cfg, paths, err := complete(cfg)
	if err != nil {
		return nil, err
	}
	redirect, err := url.Parse(cfg.RedirectURL)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	app, err := json.Marshal([]string{cfg.Issuer, cfg.ClientID, cfg.RedirectURL})
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	s := &Sessions{
		cfg: cfg, paths: paths, log: cfg.Logger, now: cfg.Now,
		cookies:  newCookies(string(app), redirect),
		csrf:     http.NewCrossOriginProtection(),
		renewals: newRecent[*flight](renewalLife, maxRenewals),
		seen:     newRecent[struct{}](seenLife, maxSeen),
		ended:    newRecent[time.Time](cfg.Lifetime, maxEnded),
	}
	if s.sealer, err = newSealer(string(app), cfg.Secrets); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if s.issuer, err = newIssuer(cfg); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if s.page, err = newPage(); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	// A proxy may change the Host header that this protection compares with.
	if err := s.csrf.AddTrustedOrigin(redirect.Scheme + "://" + redirect.Host); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	s.csrf.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, problem(ProblemCrossOrigin), errors.New("the request's origin is another one"))
	}))
	s.keep = cookieKeeper{s}
	if cfg.Store != nil {
		s.keep = storeKeeper{s}
	}
	s.routes = http.NewServeMux()
	s.routes.HandleFunc("GET "+paths.login, s.login)
	s.routes.HandleFunc("GET "+paths.callback, s.callback)
	s.routes.Handle("POST "+paths.logout, s.CSRF(http.HandlerFunc(s.logout)))
	s.routes.HandleFunc("POST "+paths.backchannel, s.backchannel)
	return s, nil
}

// Handler serves the paths of the sign-in: that of RedirectURL and, beside it,
// login, logout and backchannel-logout. Mount it where RedirectURL points, without
// http.StripPrefix.
//
//	GET  login               begins a sign-in; return_to says where it leads
//	GET  (RedirectURL)       completes it
//	POST logout              signs out here and at the issuer
//	POST backchannel-logout  is how the issuer says that somebody has signed out
func (s *Sessions) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer") // state and code are in the URL
		h.Set("X-Content-Type-Options", "nosniff")
		s.routes.ServeHTTP(w, r)
	})
}

// Require protects a handler: it runs only for a browser that is signed in, and
// finds out who it is with [User]. An access token that is about to end is
// replaced before the handler runs.
//
// Without a session, a browser that opens a page is sent to sign in and comes back
// to it; any other request is answered 401. While neither the session nor the
// access token can be had from where they are, the answer is 503. A request with
// an unsafe method from a page of another origin is answered 403, see CSRF.
func (s *Sessions) Require(next http.Handler) http.Handler {
	return s.CSRF(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := s.withSession(w, r)
		switch {
		case err != nil:
			s.fail(w, r, problem(ProblemUnavailable), err)
		case in != nil:
			next.ServeHTTP(w, in)
		case requestedPath(r) == s.paths.callback:
			// It would go round in circles.
			s.fail(w, r, problem(ProblemBroken), fmt.Errorf("nothing serves the callback: mount Sessions.Handler at %s", s.paths.callback))
		case opensPage(r):
			s.startLogin(w, r, s.returnTo(requested(r)))
		default:
			p := problem(ProblemSignedOut)
			p.LoginURL = s.LoginURL(s.cfg.Home)
			s.fail(w, r, p, nil)
		}
	}))
}

// Optional runs a handler for everybody; [User] says who is signed in, if anybody
// is. While that cannot be known, nobody is. It protects from requests of other
// origins as Require does.
func (s *Sessions) Optional(next http.Handler) http.Handler {
	return s.CSRF(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := s.withSession(w, r)
		if err != nil {
			s.log.Warn("whether somebody is signed in cannot be known at the moment", "path", r.URL.Path, "err", err)
		}
		if in == nil {
			in = r
		}
		next.ServeHTTP(w, in)
	}))
}

// CSRF refuses requests with an unsafe method (not GET, HEAD or OPTIONS) that a
// page of another origin sent, so that forms need no token. It is the protection
// of net/http, which knows by Sec-Fetch-Site and Origin, with the app's origin
// trusted behind a proxy that changes Host. Require and Optional have it already;
// it is for handlers outside of them.
func (s *Sessions) CSRF(next http.Handler) http.Handler { return s.csrf.Handler(next) }

// opensPage says whether a person waits for a page that a sign-in can lead back
// to: it is no POST, no fetch, no frame and no image.
func opensPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	dest := r.Header.Get("Sec-Fetch-Dest")
	return forPerson(r) && (dest == "" || dest == "document")
}

// withSession returns the request with its session in the context, or nil when
// nobody is signed in. The error is errOutage.
func (s *Sessions) withSession(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	if c := currentOf(r.Context()); c != nil && c.owner == s {
		return r, nil // Require inside of Optional
	}
	// What follows is about one person, and may set a cookie.
	w.Header().Add("Vary", "Cookie")
	w.Header().Set("Cache-Control", "private, no-cache")
	h, ok, err := s.current(w, r)
	if !ok || err != nil {
		return nil, err
	}
	identity, err := h.identity()
	if err != nil { // sealed by a version that read it otherwise
		s.cookies.clearSession(w, r)
		return nil, nil
	}
	return r.WithContext(context.WithValue(r.Context(), currentKey{}, &current{s, identity, h.state})), nil
}

// current returns the browser's session with a fresh access token. ok is false when
// there is none, and then a session that is over is taken from the browser.
func (s *Sessions) current(w http.ResponseWriter, r *http.Request) (h held, ok bool, err error) {
	h, old, ok, err := s.keep.load(r)
	if err != nil || !ok {
		return held{}, false, err
	}
	if s.over(h.state) {
		s.drop(w, r, h.state)
		return held{}, false, nil
	}
	if h.due(s.now()) {
		next, err := s.renewed(r.Context(), h)
		switch {
		case err == nil && !s.over(next.state):
			h, old = next, true
		case err == nil, errors.Is(err, errEnded):
			s.drop(w, r, h.state)
			return held{}, false, nil
		case !h.alive(s.now()):
			return held{}, false, err
		}
	}
	if old {
		if err := s.keep.show(w, r, h); err != nil {
			// The new tokens are too large for cookies. The old session would end with
			// the refresh token that was just used.
			return held{}, false, outage(err)
		}
	}
	return h, true, nil
}

// drop takes a session that is over from the browser, unless another one took its place
// there: a request from before that is answered late would take away the new one.
func (s *Sessions) drop(w http.ResponseWriter, r *http.Request, st state) {
	if _, late := s.ended.get(s.now(), replaced(st.Key)); !late {
		s.cookies.clearSession(w, r)
	}
}

// over says whether a session has ended, as far as this process knows.
func (s *Sessions) over(st state) bool {
	now := s.now()
	if !st.live(now) {
		return true
	}
	if _, ended := s.ended.get(now, st.Key); ended {
		return true
	}
	for _, group := range st.groups() {
		at, ended := s.ended.get(now, group)
		if ended && st.Begun <= at.UnixMilli() {
			return true
		}
	}
	return false
}

// markEnded ends a session or a group of them in this process: those that have
// begun by now.
func (s *Sessions) markEnded(name string) {
	now := s.now()
	s.ended.update(now, name, func(time.Time, bool) time.Time { return now })
}
