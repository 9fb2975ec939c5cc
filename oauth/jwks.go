package oauth

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxKeySetBytes = 512 << 10

	defaultMinRefetch = 30 * time.Second
	defaultMaxStale   = 24 * time.Hour

	// The life of a key set when the issuer says nothing, and the bounds when
	// it does.
	defaultMaxAge = 5 * time.Minute
	shortestAge   = time.Minute
	longestAge    = time.Hour

	// Without any keys every request fails, so a source that has none asks
	// again sooner than MinRefetch.
	emptyRefetch = 2 * time.Second
)

// RemoteConfig says where a [RemoteKeys] gets its keys. One of Issuer and
// JWKSURL is required; the rest has defaults.
type RemoteConfig struct {
	// Issuer is the URL of the issuer, whose metadata names the key set. https,
	// or http on a loopback host.
	Issuer string
	// JWKSURL is the key set itself, for an issuer without metadata. The same
	// rule holds for it.
	JWKSURL string
	// InsecureHTTP lets JWKSURL be http on any host: whoever is on the way there can
	// put keys of their own in. For development.
	InsecureHTTP bool
	// Client makes the requests. It follows no redirects and sends no cookies,
	// whatever its settings. Default one with http.DefaultTransport.
	Client *http.Client
	// Logger hears of every failed attempt, once each. Default slog.Default().
	Logger *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time

	// MinRefetch is the least time from one attempt to the next, so that tokens
	// with invented key names cannot turn this service against the issuer.
	// Default 30 s. While there are no keys at all it is 2 s at most.
	MinRefetch time.Duration
	// MaxAge is how long a key set counts as fresh. Default what the issuer says
	// in Cache-Control, but at least 1 minute and at most 1 hour, and 5 minutes
	// when it says nothing.
	MaxAge time.Duration
	// MaxStale is how long the last keys are used while the issuer cannot be
	// reached, counted from the request that brought them. After that nothing
	// is verified any more. Default 24 h.
	MaxStale time.Duration
}

// RemoteKeys are the keys of an issuer, read over HTTP. It is a [KeySource].
//
// Nothing is requested before the first key is asked for, so a program starts
// while the issuer is down; until there are keys every answer is
// [ErrUnavailable]. From then on the issuer is asked again when the keys are no
// longer fresh, in the background, and when a token names a key that is not
// among them, with MinRefetch between any two attempts. A caller waits for one
// attempt at most, 10 s at most. An attempt that fails changes nothing, so an
// outage of the issuer is not noticed for MaxStale.
//
// A key that the issuer withdrew stops working with the next attempt that
// succeeds: within the keys' MaxAge where there is traffic, and before the first
// answer when there was none for twice as long.
//
// It is safe for concurrent use and needs no closing: the only goroutine is the
// one of a running attempt.
type RemoteKeys struct {
	cfg    RemoteConfig
	client *http.Client

	held atomic.Pointer[fetchedKeys] // the last good ones, nil before the first; changed with mu held

	mu      sync.Mutex
	tried   time.Time     // when the last attempt began
	failure error         // of the last attempt, nil when it succeeded
	flight  chan struct{} // closed when the running attempt ends, nil when none runs
	hold    bool          // whether known keys wait for the flight as well

	discovered string // jwks_uri from metadata; only the running attempt touches it
}

// fetchedKeys are what one attempt brought. They are never changed.
type fetchedKeys struct {
	set    keySet
	at     time.Time     // when they were asked for
	maxAge time.Duration // how long they are fresh
}

// NewRemoteKeys returns the keys that cfg describes, or an error that says which
// setting is wrong. It makes no request.
func NewRemoteKeys(cfg RemoteConfig) (*RemoteKeys, error) {
	if (cfg.Issuer == "") == (cfg.JWKSURL == "") {
		return nil, errors.New("oauth: remote keys need an issuer or a JWKS URL, and not both")
	}
	// The messages leave the URL out: it may hold a password.
	if cfg.Issuer != "" {
		if _, err := parseIssuer(cfg.Issuer); err != nil {
			return nil, fmt.Errorf("oauth: the issuer is %w", err)
		}
	} else if _, err := parseEndpoint(cfg.JWKSURL, cfg.InsecureHTTP); err != nil {
		return nil, fmt.Errorf("oauth: the JWKS URL is %w", err)
	}
	if cfg.MinRefetch < 0 || cfg.MaxAge < 0 || cfg.MaxStale < 0 {
		return nil, errors.New("oauth: remote keys: a negative duration")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.MinRefetch = cmp.Or(cfg.MinRefetch, defaultMinRefetch)
	cfg.MaxStale = cmp.Or(cfg.MaxStale, defaultMaxStale)
	return &RemoteKeys{cfg: cfg, client: guardedClient(cfg.Client)}, nil
}

// Key implements [KeySource]. The error is [ErrUnknownKey] when the issuer has
// no such key, [ErrUnavailable] when that cannot be known at the moment, or that
// of ctx when it ends while an attempt is awaited; the attempt goes on for the
// others.
func (k *RemoteKeys) Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	// Nearly every call is for a key that is known and fresh. It takes no lock.
	if held := k.held.Load(); held != nil {
		if age := k.now().Sub(held.at); age >= 0 && age < min(held.maxAge, k.cfg.MaxStale) {
			if key := held.set.key(kid, alg); key != nil {
				return key, nil
			}
		}
	}
	key, wait, err := k.lookup(kid, alg, true)
	if wait == nil {
		return key, err
	}
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	key, _, err = k.lookup(kid, alg, false)
	return key, err
}

// lookup answers from the keys at hand. With ask it first starts an attempt when
// one is due, and returns its end instead of an answer when that is worth
// waiting for.
func (k *RemoteKeys) lookup(kid, alg string, ask bool) (crypto.PublicKey, <-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	held := k.held.Load()
	if held == nil {
		held = new(fetchedKeys)
	}
	age := now.Sub(held.at)
	usable := held.set != nil && age < k.cfg.MaxStale
	key := held.set.key(kid, alg)
	known := usable && key != nil
	if known && age >= 0 && age < held.maxAge {
		return key, nil, nil
	}
	if ask {
		pause := k.cfg.MinRefetch
		if !usable {
			pause = min(pause, emptyRefetch)
		}
		sinceTry := now.Sub(k.tried)
		// A negative time is a clock that was set back: it must not stop us.
		if k.flight == nil && (sinceTry >= pause || sinceTry < 0) {
			k.tried = now
			k.flight = make(chan struct{})
			// A known key is used while fresher ones are on their way, unless
			// nobody asked for so long that it may have been withdrawn hours
			// ago. Attempts that fail one after the other are not that far
			// apart, so an outage does not make everybody wait.
			k.hold = sinceTry >= 2*max(held.maxAge, k.cfg.MinRefetch)
			go k.attempt(now, k.flight)
		}
		if k.flight != nil && (!known || k.hold) {
			return nil, k.flight, nil
		}
	}
	switch {
	case known:
		return key, nil, nil
	case usable && k.failure == nil:
		return nil, nil, ErrUnknownKey
	case k.failure != nil:
		// Also for a name that the old keys lack: the issuer may have added
		// it since, and a good token must not be thrown away for an outage.
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, k.failure)
	}
	return nil, nil, ErrUnavailable
}

// now returns the time without its monotonic part, which stands still while a
// machine sleeps: the keys would look younger than they are.
func (k *RemoteKeys) now() time.Time { return k.cfg.Now().Round(0) }

// attempt asks the issuer once and ends the flight. It belongs to no request, so
// a caller who leaves does not spoil it for those who stay.
func (k *RemoteKeys) attempt(began time.Time, flight chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	set, maxAge, err := k.fetch(ctx)
	if err != nil {
		k.cfg.Logger.Warn("could not fetch keys", "issuer", k.cfg.Issuer, "jwks_url", k.cfg.JWKSURL, "err", err)
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
	if err == nil {
		if held := k.held.Load(); held != nil {
			set.keep(held.set)
		}
		k.held.Store(&fetchedKeys{set, began, maxAge})
	}
	k.flight = nil
	close(flight)
}

// fetch returns the issuer's keys and how long they are fresh. A panic, of a
// transport or a parser, is an error like any other: it would otherwise end a
// program whose handlers are protected from their own.
func (k *RemoteKeys) fetch(ctx context.Context) (set keySet, maxAge time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %T\n%s", p, debug.Stack()) // not its value, which may hold anything
		}
	}()
	address := cmp.Or(k.cfg.JWKSURL, k.discovered)
	if address == "" {
		m, err := FetchMetadata(ctx, k.client, k.cfg.Issuer)
		if err != nil {
			return nil, 0, err
		}
		if m.JWKSURI == "" {
			return nil, 0, errors.New("the issuer's metadata names no jwks_uri")
		}
		address = m.JWKSURI
	}
	k.discovered = "" // asked for again after a failure: the keys may have moved
	body, header, err := get(ctx, k.client, address, maxKeySetBytes)
	if err != nil {
		return nil, 0, err
	}
	if set, err = parseKeySet(body); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", address, err)
	}
	k.discovered = address
	return set, cmp.Or(k.cfg.MaxAge, maxAgeOf(header)), nil
}

// maxAgeOf reads max-age of Cache-Control (RFC 9111 section 5.2.2.1) into our
// bounds.
func maxAgeOf(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return shortestAge
		case "max-age":
			seconds, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return shortestAge
			}
			return min(max(time.Duration(seconds)*time.Second, shortestAge), longestAge)
		}
	}
	return defaultMaxAge
}
