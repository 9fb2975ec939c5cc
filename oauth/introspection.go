package oauth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxAnswerBytes       = 64 << 10
	introspectionTimeout = 5 * time.Second

	defaultAnswerAge     = 30 * time.Second
	maxAnswerAge         = 5 * time.Minute
	defaultAnswers       = 8192
	defaultIntrospecting = 64
	// How many more may wait for their turn, for each that is being asked about.
	waitingPerIntrospection = 16
)

// IntrospectionConfig says whom an [IntrospectionVerifier] asks, and what it makes of
// the answers.
type IntrospectionConfig struct {
	// Issuer is the URL of the issuer, whose metadata names the endpoint; an answer
	// that names another issuer is refused. https, or http on a loopback host.
	Issuer string
	// Endpoint is the introspection endpoint itself; the same rule holds for it. One of
	// the two is required, and metadata is not asked for when both are there.
	Endpoint string
	// ClientID and ClientSecret are those of this service at the issuer. They are sent
	// by HTTP Basic authentication (client_secret_basic). Required.
	ClientID, ClientSecret string
	// Audiences are the names of this service. A token has to be for one of them. At
	// least one is required.
	Audiences []string
	// SkipMissingAudience also accepts tokens of which the issuer does not say whom
	// they are for. It is right for an issuer that tells each service about its own
	// tokens only.
	SkipMissingAudience bool
	// MaxAge is how long an answer is used, so how long a revoked token may go on
	// working. Default 30 s, at most 5 minutes; negative asks each time.
	MaxAge time.Duration
	// Answers is how many answers are remembered. Default 8,192.
	Answers int
	// Concurrent is how many questions may be open at once. More of them wait, and
	// many more are answered [ErrUnavailable]. Default 64.
	Concurrent int
	// Client makes the requests, each within 5 s. It follows no redirects and sends no
	// cookies, whatever its settings. Default one with http.DefaultTransport.
	Client *http.Client
	// Logger hears when the issuer stops answering, and when it answers again.
	// Default slog.Default().
	Logger *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// An IntrospectionVerifier asks the issuer about each token (RFC 7662): for tokens that
// say nothing themselves, and for what should notice at once that a token was revoked.
// It is a [BoundVerifier].
//
// Only answers about good tokens are remembered, under the SHA-256 of the token and in
// a bounded number, so a flood of invented tokens displaces nobody. Requests with one
// token at the same time ask once. An issuer that does not answer, or answers anything
// but what RFC 7662 describes, says nothing about the token: [ErrUnavailable].
//
// What is optional in an answer is optional here: a token may have no
// [AccessToken.ID], no [AccessToken.Subject] and no times.
//
// It is safe for concurrent use and starts nothing; the only goroutines are those of
// questions that are open.
type IntrospectionVerifier struct {
	cfg    IntrospectionConfig
	client *http.Client

	queue, slots chan struct{} // who waits or asks; who asks

	mu         sync.Mutex
	answers    map[tokenDigest]*answer   // about good tokens
	open       map[tokenDigest]*question // the last one about each token
	discovered string                    // the endpoint, from metadata
	failed     time.Time                 // when it could not be discovered
	failing    bool                      // whether the issuer last did not answer
}

// NewIntrospectionVerifier returns a verifier for cfg, or an error that says which
// setting is wrong. It makes no request.
func NewIntrospectionVerifier(cfg IntrospectionConfig) (*IntrospectionVerifier, error) {
	if cfg.Issuer == "" && cfg.Endpoint == "" {
		return nil, errors.New("oauth: introspection needs an issuer or an endpoint")
	}
	// The messages leave the URL out: it may hold a password.
	if cfg.Issuer != "" {
		if _, err := parseIssuer(cfg.Issuer); err != nil {
			return nil, fmt.Errorf("oauth: the issuer is %w", err)
		}
	}
	if cfg.Endpoint != "" {
		if _, err := parseEndpoint(cfg.Endpoint, false); err != nil {
			return nil, fmt.Errorf("oauth: the introspection endpoint is %w", err)
		}
	}
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		return nil, errors.New("oauth: introspection needs a client id and its secret: the issuer tells nobody else")
	}
	cfg.Audiences = slices.Clone(cfg.Audiences)
	if len(cfg.Audiences) == 0 || slices.Contains(cfg.Audiences, "") {
		return nil, errors.New("oauth: introspection needs at least one audience, none of them empty")
	}
	cfg.MaxAge = cmp.Or(cfg.MaxAge, defaultAnswerAge)
	if cfg.MaxAge > maxAnswerAge {
		return nil, fmt.Errorf("oauth: an introspection answer may be used for %v at most, not %v", maxAnswerAge, cfg.MaxAge)
	}
	cfg.Answers = cmp.Or(cfg.Answers, defaultAnswers)
	cfg.Concurrent = cmp.Or(cfg.Concurrent, defaultIntrospecting)
	if cfg.Answers < 0 || cfg.Concurrent < 0 {
		return nil, errors.New("oauth: introspection: a negative number")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &IntrospectionVerifier{
		cfg: cfg, client: guardedClient(cfg.Client),
		slots: make(chan struct{}, cfg.Concurrent), queue: make(chan struct{}, cfg.Concurrent*(1+waitingPerIntrospection)),
		answers: make(map[tokenDigest]*answer), open: make(map[tokenDigest]*question),
	}, nil
}

// Verify implements [Verifier].
func (v *IntrospectionVerifier) Verify(ctx context.Context, token string) (*AccessToken, error) {
	t, err := v.VerifyBound(ctx, token)
	if err == nil && t.Confirmation() != (Confirmation{}) {
		return nil, invalid(errors.New("the token is bound to a key by cnf and came without proof"))
	}
	return t, err
}

// VerifyBound implements [BoundVerifier].
func (v *IntrospectionVerifier) VerifyBound(ctx context.Context, token string) (*AccessToken, error) {
	return v.Introspect(ctx, token, v.cfg.MaxAge)
}

// Introspect is VerifyBound with an answer that is not older than maxAge; zero or less
// asks in any case. The errors are those of a [Verifier].
func (v *IntrospectionVerifier) Introspect(ctx context.Context, token string, maxAge time.Duration) (*AccessToken, error) {
	if token == "" || len(token) > maxTokenBytes {
		return nil, invalid(errors.New("the token is empty or too long"))
	}
	digest := tokenDigest(sha256.Sum256([]byte(token)))
	known, q, first := v.recall(digest, maxAge)
	if known != nil {
		return known, nil
	}
	if first {
		select {
		case v.queue <- struct{}{}:
			go v.ask(q, digest, token)
		default:
			v.settle(q, digest, nil, 0, fmt.Errorf("%w: too many questions to the issuer are open", ErrUnavailable))
		}
	}
	select {
	case <-q.done:
		return q.token, q.err
	case <-ctx.Done():
		return nil, fmt.Errorf("introspect access token: %w", ctx.Err())
	}
}

// ask puts one question to the issuer. It belongs to no request, so a caller who leaves
// does not spoil it for the others.
func (v *IntrospectionVerifier) ask(q *question, digest tokenDigest, token string) {
	defer func() { <-v.queue }()
	ctx, cancel := context.WithTimeout(context.Background(), introspectionTimeout)
	defer cancel()
	t, size, err := v.answer(ctx, token)
	v.note(err)
	v.settle(q, digest, t, size, err)
}

// answer returns what the issuer says about a token, and how long the answer was. A
// panic, of a transport for example, is an error like any other: this goroutine is not
// a handler's.
func (v *IntrospectionVerifier) answer(ctx context.Context, token string) (t *AccessToken, size int, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("%w: introspection: panic: %v\n%s", ErrUnavailable, p, debug.Stack())
		}
	}()
	body, err := v.post(ctx, token)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: introspection: %w", ErrUnavailable, err)
	}
	t, err = v.judge(body)
	return t, len(body), err
}

// note logs that the issuer stops answering, and that it answers again. When it does
// not, the endpoint may have moved, and is looked for again.
func (v *IntrospectionVerifier) note(err error) {
	failing := errors.Is(err, ErrUnavailable)
	v.mu.Lock()
	changed := v.failing != failing
	v.failing = failing
	if failing {
		v.discovered = ""
	}
	v.mu.Unlock()
	switch {
	case changed && failing:
		v.cfg.Logger.Warn("the issuer does not answer questions about tokens", "issuer", v.cfg.Issuer, "endpoint", v.cfg.Endpoint, "err", err)
	case changed:
		v.cfg.Logger.Info("the issuer answers questions about tokens again", "issuer", v.cfg.Issuer, "endpoint", v.cfg.Endpoint)
	}
}

// now returns the time without its monotonic part, which stands still while a machine
// sleeps: answers would look younger than they are.
func (v *IntrospectionVerifier) now() time.Time { return v.cfg.Now().Round(0) }

// post returns the body of an answer with status 200.
func (v *IntrospectionVerifier) post(ctx context.Context, token string) ([]byte, error) {
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	endpoint, err := v.endpoint(ctx)
	if err != nil {
		return nil, err
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749 section 2.3.1 encodes both before they are joined.
	req.SetBasicAuth(url.QueryEscape(v.cfg.ClientID), url.QueryEscape(v.cfg.ClientSecret))
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, errors.New("the issuer refuses the credentials of this service")
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, errors.New("the answer is not application/json")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswerBytes {
		return nil, fmt.Errorf("more than %d bytes", maxAnswerBytes)
	}
	return body, nil
}

// endpoint returns where to ask. What the metadata says is kept.
func (v *IntrospectionVerifier) endpoint(ctx context.Context) (string, error) {
	if v.cfg.Endpoint != "" {
		return v.cfg.Endpoint, nil
	}
	v.mu.Lock()
	found, since := v.discovered, v.now().Sub(v.failed)
	v.mu.Unlock()
	if found != "" {
		return found, nil
	}
	if since >= 0 && since < emptyRefetch {
		return "", errors.New("the issuer's metadata could not be read a moment ago")
	}
	m, err := FetchMetadata(ctx, v.client, v.cfg.Issuer)
	if err == nil && m.IntrospectionEndpoint == "" {
		err = errors.New("the issuer's metadata names no introspection_endpoint")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.failed = v.now()
		return "", err
	}
	v.discovered = m.IntrospectionEndpoint
	return v.discovered, nil
}

// judge reads an answer (RFC 7662 section 2.2).
func (v *IntrospectionVerifier) judge(body []byte) (*AccessToken, error) {
	m, err := parseMembers(bytes.TrimSpace(body))
	if err != nil {
		return nil, fmt.Errorf("%w: the answer is %w", ErrUnavailable, err)
	}
	// Nothing but the word: "true" in quotes, 1 or a missing member is not what the
	// RFC calls active.
	if !m.is("active", "true") {
		return nil, invalid(errors.New("the issuer does not say that the token is active"))
	}
	t, err := introspected(m)
	if err != nil {
		return nil, invalid(err)
	}
	latest := v.now().Add(defaultLeeway)
	switch {
	case v.cfg.Issuer != "" && t.issuer != "" && t.issuer != v.cfg.Issuer:
		return nil, invalid(errors.New("iss is another issuer"))
	case len(t.audience) == 0 && !v.cfg.SkipMissingAudience:
		return nil, invalid(errors.New("the issuer does not say whom the token is for (aud)"))
	case len(t.audience) > 0 && !slices.ContainsFunc(v.cfg.Audiences, t.HasAudience):
		return nil, invalid(errors.New("aud is another service"))
	case !t.expiresAt.IsZero() && !v.now().Before(t.expiresAt.Add(defaultLeeway)):
		return nil, invalid(errors.New("the token has expired"))
	case m.present("nbf") && m.date("nbf").After(latest), t.issuedAt.After(latest):
		return nil, invalid(errors.New("the token is not valid yet"))
	case m.err != nil:
		return nil, invalid(m.err)
	}
	t.issuer = cmp.Or(t.issuer, v.cfg.Issuer)
	return t, nil
}

// introspected reads what an answer may say about a token. What is there in another
// type than it should be is refused; null is absent, except for what the token is
// bound to.
func introspected(m *members) (*AccessToken, error) {
	t := new(AccessToken)
	for name, text := range map[string]*string{
		"iss": &t.issuer, "sub": &t.subject, "client_id": &t.clientID, "jti": &t.id, "gid": &t.grantID, "sid": &t.sessionID, "acr": &t.acr,
	} {
		if m.present(name) {
			*text = m.text(name)
		}
	}
	for name, date := range map[string]*time.Time{"iat": &t.issuedAt, "exp": &t.expiresAt, "auth_time": &t.authTime} {
		if m.present(name) {
			*date = m.date(name)
		}
	}
	if m.present("aud") {
		t.audience = m.audience()
	}
	if m.present("amr") {
		t.amr = m.texts("amr")
	}
	if m.present("scope") {
		t.scopes = m.scopes()
	}
	if m.has("cnf") {
		t.confirmation = m.confirmation()
	}
	// Many issuers call a refresh token active as well. Those that tell the kinds
	// apart do it in one of these.
	if m.present("token_use") && !slices.Contains([]string{"access_token", "access"}, m.text("token_use")) {
		return nil, errors.New("token_use is not access_token")
	}
	if m.present("typ") && slices.Contains([]string{"refresh", "offline", "id", "logout", "rt+jwt"}, strings.ToLower(m.text("typ"))) {
		return nil, errors.New("typ is not that of an access token")
	}
	if m.present("token_type") {
		switch strings.ToLower(m.text("token_type")) {
		case "refresh_token":
			return nil, errors.New("token_type is not that of an access token")
		case "dpop": // without the key nobody can prove it, and it is no bearer token for that
			if t.confirmation.JKT == "" {
				return nil, errors.New("token_type is DPoP, and cnf does not name the key")
			}
		}
	}
	t.claims = m.list
	return t, m.err
}

// is says whether a member stands there as exactly these bytes.
func (m *members) is(name, literal string) bool { return m.raw(name) == literal }

// present says whether a member is there and not null.
func (m *members) present(name string) bool { return m.has(name) && !m.is(name, "null") }
