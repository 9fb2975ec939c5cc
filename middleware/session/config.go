package session

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

const (
	defaultLifetime = 12 * time.Hour
	longestLifetime = 90 * 24 * time.Hour
	shortestSecret  = 32
)

// Config says who signs people in and how this app remembers them. Issuer,
// ClientID, RedirectURL and Secrets are required; the rest has defaults.
type Config struct {
	// Issuer is the exact name of the issuer: an https URL, or an http one on a
	// loopback host.
	Issuer string
	// ClientID is the name of this app at the issuer.
	ClientID string
	// ClientSecret proves it. Empty for a public client, which has PKCE alone.
	ClientSecret string
	// RedirectURL is where the issuer sends people back to, as registered there,
	// such as https://app.example/auth/callback. It is https, or http on a loopback
	// host, and its origin is the app's. The other paths of Handler are its
	// neighbours: /auth/login, /auth/logout, /auth/backchannel-logout.
	RedirectURL string
	// Scopes are asked for at sign-in; openid always is. Without a refresh token,
	// which many issuers give for offline_access only, the access token ends and the
	// session goes on. With profile, email, address or phone the issuer's userinfo
	// endpoint is asked at sign-in, once. Default openid.
	Scopes []string
	// Params are more parameters of the authorization request, such as resource or
	// ui_locales. Those of the protocol itself are refused.
	Params url.Values

	// Secrets seal cookies and what Store keeps: at least 32 characters each, from a
	// random source, the same in all replicas. The first seals, all open. To change
	// one, put the new one in front and take the old one away a Lifetime later. Where
	// replicas restart one after the other, put it at the end first, for all to know.
	Secrets []string
	// Store keeps the sessions, and the browser only a name. Several replicas share
	// one. Default nil: the whole session is in the browser, sealed. See the package
	// comment for what each can do.
	Store Store
	// Lifetime is how long a session lasts at most, counted from the sign-in, and
	// also how long the cookie is kept. Default 12 h, at most 90 days.
	Lifetime time.Duration

	// Home is the path where people go when nothing else is known: after signing out,
	// and after signing in at the login path itself. Default "/".
	Home string
	// PostLogoutRedirectURL is where the issuer sends people after signing out, as
	// registered there. Default none: the issuer keeps them.
	PostLogoutRedirectURL string
	// ErrorPage shows a person what went wrong. It has to answer with p.Status.
	// Default a plain page in English. Requests that no person looks at get JSON.
	ErrorPage func(w http.ResponseWriter, r *http.Request, p Problem)

	// Algorithms may sign ID tokens and logout tokens. Default those of
	// [oauth.JWTConfig].
	Algorithms []string
	// Client makes the requests to the issuer. It follows no redirects and sends no
	// cookies, whatever its settings, and gives up after 10 s. Default one with
	// http.DefaultTransport.
	Client *http.Client
	// Logger hears why a sign-in or a refresh failed. It is never given a token, a
	// code or a cookie. Default slog.Default().
	Logger *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// paths are where Handler is reached, as the browser sees them.
type paths struct {
	callback, login, logout, backchannel string
}

// complete fills the defaults of a copy of cfg, or says all that is wrong with it.
func complete(cfg Config) (Config, paths, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if cfg.Issuer == "" {
		fault("Issuer is missing: say the issuer's URL, such as https://id.example")
	}
	if cfg.ClientID == "" {
		fault("ClientID is missing: say the name that this app has at the issuer")
	}
	redirect, err := parseURL(cfg.RedirectURL)
	if err == nil && !plainPath(redirect) {
		err = errors.New("has no plain path")
	}
	if err != nil {
		fault("RedirectURL %w; write the whole URL of the callback, such as https://app.example/auth/callback", err)
	}
	if cfg.PostLogoutRedirectURL != "" {
		if _, err := parseURL(cfg.PostLogoutRedirectURL); err != nil {
			fault("PostLogoutRedirectURL %w; write the whole URL, such as https://app.example/", err)
		}
	}
	if len(cfg.Secrets) == 0 {
		fault("Secrets is missing: give at least one, of %d random characters or more", shortestSecret)
	}
	for i, s := range cfg.Secrets {
		if len(s) < shortestSecret {
			fault("Secrets[%d] is shorter than %d characters; draw one, for example with: openssl rand -base64 48", i, shortestSecret)
		}
	}
	if cfg.Lifetime < 0 || cfg.Lifetime > longestLifetime {
		fault("Lifetime %v is not between 0 and %v", cfg.Lifetime, longestLifetime)
	}
	for _, name := range cfg.Scopes {
		if !oauth.ValidScopeName(name) {
			fault("Scopes: %q is not one scope name", name)
		}
	}
	for name := range cfg.Params {
		if slices.Contains(protocolParams(), name) {
			fault("Params: %s is set by this package", name)
		}
	}
	if cfg.Home = cmp.Or(cfg.Home, "/"); !localURL(cfg.Home) {
		fault("Home %q is not a path on this app, such as /", cfg.Home)
	}
	if len(faults) > 0 {
		return cfg, paths{}, fmt.Errorf("session: %w", errors.Join(faults...))
	}

	cfg.Secrets, cfg.Scopes = slices.Clone(cfg.Secrets), slices.Clone(cfg.Scopes)
	if !slices.Contains(cfg.Scopes, "openid") {
		cfg.Scopes = append([]string{"openid"}, cfg.Scopes...)
	}
	cfg.Lifetime = cmp.Or(cfg.Lifetime, defaultLifetime)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	base := path.Dir(redirect.Path)
	return cfg, paths{
		callback: redirect.Path, login: path.Join(base, "login"),
		logout: path.Join(base, "logout"), backchannel: path.Join(base, "backchannel-logout"),
	}, nil
}

// protocolParams are the parameters of an authorization request that nobody else
// may set.
func protocolParams() []string {
	return []string{
		"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce",
		"code_challenge", "code_challenge_method", "request", "request_uri",
	}
}

// plainPath says whether a redirect URL has a path that no mux takes for a pattern
// and no proxy rewrites, and that leaves their names to its neighbours.
func plainPath(u *url.URL) bool {
	plain := func(r rune) bool {
		return r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~/", r))
	}
	return u.RawQuery == "" && !u.ForceQuery && u.RawPath == "" && u.Path != "" && u.Path != "/" && path.Clean(u.Path) == u.Path &&
		!strings.ContainsFunc(u.Path, func(r rune) bool { return !plain(r) }) &&
		!slices.Contains([]string{"login", "logout", "backchannel-logout"}, path.Base(u.Path))
}

// parseURL accepts the URLs of this app that an issuer may send people to.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	switch {
	case u.Hostname() == "" || u.Opaque != "" || u.User != nil || u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, errors.New("is not an absolute URL without user and fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, errors.New("is neither https nor http on a loopback host")
	}
	return u, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// localURL says whether raw is a path on this app, with or without a query, that
// no browser and nobody who decodes it once more takes for another host's.
func localURL(raw string) bool {
	if len(raw) > 2048 || !strings.HasPrefix(raw, "/") || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return false
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" {
		return false
	}
	p := u.EscapedPath()
	for range 4 {
		if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
			return false
		}
		if p, err = url.PathUnescape(p); err != nil {
			return false
		}
	}
	return true
}
