package oauth

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = time.Minute
)

// A KeySource knows the public keys of one issuer.
type KeySource interface {
	// Key returns the key called kid that verifies signatures by alg (a name of
	// RFC 7518 section 3.1): an *ecdsa.PublicKey, *rsa.PublicKey or
	// ed25519.PublicKey, which nobody changes from then on. Without such a key
	// the error is [ErrUnknownKey]. Any other error means that the source cannot
	// tell. Key is called for every token, for those that the verifier remembers
	// as well, with a kid that a stranger chose, at most 256 bytes of it, and at
	// the same time by many goroutines. An empty kid asks for the only key that
	// verifies alg; a [JWTVerifier] never does.
	Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error)
}

// JWTConfig says which tokens a [JWTVerifier] accepts.
type JWTConfig struct {
	// Issuer is compared with "iss" byte by byte. Required.
	Issuer string
	// Audiences are the names of this service. A token has to name one of them
	// in "aud". At least one is required: a service without a name would accept
	// tokens meant for any other.
	Audiences []string
	// Algorithms are the signature algorithms allowed. Default ES256, RS256,
	// PS256 and EdDSA; also known are ES384, ES512, RS384, RS512, PS384, PS512.
	Algorithms []string
	// AcceptPlainJWT also accepts access tokens that do not say that they are access
	// tokens: their type is JWT, or they have none. Keycloak, Entra, Auth0, Okta,
	// zitadel and others issue such tokens; set the issuer to RFC 9068 instead where
	// it can be. Their ID tokens look much the same, so such a token is accepted only
	// if it names its client (client_id, azp, cid or appid), that client is not in
	// "aud", it has a scope (scope or scp) or a claim that calls it an access token
	// (typ, token_use), and has no claim that belongs into other tokens: nonce,
	// at_hash, c_hash, s_hash, events, token_introspection. Audiences must not be
	// names of the issuer's clients.
	//
	// Whatever the type, jti may then be missing, and the other names of client and
	// scope are understood.
	AcceptPlainJWT bool
	// Leeway is how far the issuer's clock may be off when times are compared.
	// Default 30 s, at most 60 s.
	Leeway time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time

	// CacheTokens is how many verified tokens are remembered, so that a token that
	// comes again costs a comparison instead of a signature check. Nothing is
	// accepted for it that would not be accepted without, see [JWTVerifier].
	// Default 8,192, rounded up to eight times a power of two, at most 1,048,576;
	// negative for none. An entry takes about three times the length of its token, and
	// tokens beyond 4 KB are not remembered: 8,192 are some 25 MB when a token has a
	// kilobyte, and some 70 when each has four.
	CacheTokens int
	// CacheMaxAge is after what time a remembered token is verified from scratch.
	// Default and at most 5 minutes.
	CacheMaxAge time.Duration
	// CacheDigests remembers the SHA-256 of a token instead of the token, so that
	// nobody finds bearer tokens in the memory of a process that is past its
	// requests. It costs about a microsecond more for each request.
	CacheDigests bool

	// Revocations are what the issuer ended before its time. Default none: a token
	// is good until it expires.
	Revocations *Revocations
}

// A JWTVerifier verifies JWT access tokens as RFC 9068 section 4 asks, without a
// call to anybody unless its key source makes one. It accepts no other kind of
// JWT, in particular no ID token, unless [JWTConfig.AcceptPlainJWT] makes it look at
// what else tells them apart. It is a [BoundVerifier]: Verify also refuses a
// token that is bound to a key of its bearer, because it cannot see the proof.
//
// It remembers tokens that were good, in a memory of fixed size, and checks the
// signature of the same bytes once. Everything else is judged at every call, as if
// the token came for the first time: its times, that the key source still has the
// key that signed it, and revocations. What was refused is not remembered.
type JWTVerifier struct {
	issuer     string
	audiences  []string
	algorithms map[string]algorithm
	plain      bool
	keys       KeySource
	life       lifetime
	headers    seenHeaders
	cache      *tokenCache
}

// NewJWTVerifier returns a verifier for cfg that gets its keys from keys, or an
// error that says which setting is wrong. It makes no request.
func NewJWTVerifier(cfg JWTConfig, keys KeySource) (*JWTVerifier, error) {
	v := &JWTVerifier{
		issuer:     cfg.Issuer,
		audiences:  slices.Clone(cfg.Audiences),
		algorithms: make(map[string]algorithm),
		plain:      cfg.AcceptPlainJWT,
		keys:       keys,
		life:       lifetime{leeway: cfg.Leeway, now: cfg.Now, revocations: cfg.Revocations},
	}
	if keys == nil {
		return nil, errors.New("oauth: a JWT verifier needs a key source")
	}
	if v.issuer == "" {
		return nil, errors.New("oauth: a JWT verifier needs an issuer")
	}
	if len(v.audiences) == 0 || slices.Contains(v.audiences, "") {
		return nil, errors.New("oauth: a JWT verifier needs at least one audience, none of them empty")
	}
	names := cfg.Algorithms
	if len(names) == 0 {
		names = []string{"ES256", "RS256", "PS256", "EdDSA"}
	}
	for _, name := range names {
		a, ok := algorithms[name]
		if !ok {
			return nil, fmt.Errorf("oauth: unknown signature algorithm %q", name)
		}
		v.algorithms[name] = a
	}
	if v.life.leeway == 0 {
		v.life.leeway = defaultLeeway
	}
	if v.life.leeway < 0 || v.life.leeway > maxLeeway {
		return nil, fmt.Errorf("oauth: leeway %v is not between 0 and %v", v.life.leeway, maxLeeway)
	}
	if v.life.now == nil {
		v.life.now = time.Now
	}
	var err error
	if v.cache, err = newTokenCache(cfg); err != nil {
		return nil, err
	}
	return v, nil
}

// Verify implements [Verifier].
func (v *JWTVerifier) Verify(ctx context.Context, token string) (*AccessToken, error) {
	t, err := v.VerifyBound(ctx, token)
	if err != nil {
		return nil, err
	}
	// A token bound to its bearer's key must not pass without the proof (RFC
	// 7800 section 3.1, RFC 8705, RFC 9449 section 7.2), of whatever kind.
	if t.Confirmation() != (Confirmation{}) {
		return nil, invalid(errors.New("the token is bound to a key by cnf and came without proof"))
	}
	return t, nil
}

// VerifyBound implements [BoundVerifier].
func (v *JWTVerifier) VerifyBound(ctx context.Context, token string) (*AccessToken, error) {
	now := v.life.now().Round(0) // by the calendar: the other clock stands still while a machine sleeps
	// Loaded before anything is looked at: what is revoked while the token is being
	// verified moves it, and the next request looks again. The other order would lose
	// what comes between the look and the insert.
	generation := v.life.revocations.current()
	key, cacheable := v.cache.key(token)
	if cacheable {
		if e := v.cache.find(key); e != nil {
			if t, err := v.recall(ctx, e, now); t != nil || err != nil {
				return t, err
			}
		}
	}
	e, err := v.verify(ctx, token, now)
	if err != nil {
		return nil, err
	}
	if cacheable {
		e.revocations.Store(generation)
		v.cache.put(key, e, now)
	}
	return e.claims, nil
}

// recall returns the claims of a remembered token if it is still good. It returns
// nothing at all when that is not certain, and then the token is verified as if it
// came for the first time.
func (v *JWTVerifier) recall(ctx context.Context, e *cachedToken, now time.Time) (*AccessToken, error) {
	if now.Before(e.from) || !now.Before(e.until) {
		return nil, nil
	}
	// Asking also keeps the keys fresh: a busy verifier may see nothing but tokens
	// that it remembers.
	key, err := v.keys.Key(ctx, e.header.kid, e.header.alg)
	if err != nil {
		return nil, keyError(ctx, err)
	}
	if !sameKey(key, e.key) {
		return nil, nil
	}
	if generation := v.life.revocations.current(); e.revocations.Load() != generation {
		if v.life.revocations.Revoked(e.claims) {
			return nil, nil
		}
		e.revocations.Store(generation)
	}
	return e.claims, nil
}

// verify verifies a token from scratch. What costs least is checked first: size,
// form, header, issuer and expiry, and only then is a key looked for and the
// signature checked. Nothing that the token claims is used before that for more
// than a comparison, except the key's name.
func (v *JWTVerifier) verify(ctx context.Context, token string, now time.Time) (*cachedToken, error) {
	parts, err := cutToken(token)
	if err != nil {
		return nil, invalid(err)
	}
	header := v.headers.find(parts.header)
	newHeader := header == nil
	if newHeader {
		if header, err = parseHeader(parts.header, v.algorithms, v.plain); err != nil {
			return nil, invalid(err)
		}
	}
	// Most tokens and every signature of a key that we use fit into these, which do not
	// leave the stack.
	var payloadSpace [1536]byte
	payload, err := decodePart(payloadSpace[:], parts.payload)
	if err != nil {
		return nil, invalid(err)
	}
	var signatureSpace [maxRSABits / 8]byte
	signature, err := decodePart(signatureSpace[:], parts.signature)
	if err != nil {
		return nil, invalid(err)
	}
	claims, err := parseMembers(payload)
	if err != nil {
		return nil, invalid(fmt.Errorf("claims: %w", err))
	}
	if err := v.checkBeforeSignature(claims, now); err != nil {
		return nil, invalid(err)
	}
	key, err := v.keys.Key(ctx, header.kid, header.alg)
	if err != nil {
		return nil, keyError(ctx, err)
	}
	var signedSpace [2048]byte
	if !header.algorithm.verify(key, append(signedSpace[:0], parts.signed...), signature) {
		return nil, invalid(errors.New("the signature is wrong"))
	}
	e, err := v.checkClaims(claims, now)
	if err == nil && header.plain {
		err = checkPlain(claims, e.claims)
	}
	if err != nil {
		return nil, invalid(err)
	}
	if v.life.revocations.Revoked(e.claims) {
		return nil, invalid(errRevoked)
	}
	if newHeader {
		v.headers.add(parts.header, header)
	}
	e.header, e.key = header, key
	return e, nil
}

// checkBeforeSignature turns away the tokens of other issuers and the storm of
// expired ones. The claims are not proven yet, so it only ever refuses.
func (v *JWTVerifier) checkBeforeSignature(claims *members, now time.Time) error {
	issuer, expires := claims.text("iss"), claims.date("exp")
	switch {
	case claims.err != nil:
		return claims.err
	case issuer != v.issuer:
		return errors.New("iss is another issuer")
	case !now.Before(expires.Add(v.life.leeway)):
		return errExpired
	}
	return nil
}

// checkClaims checks the rest, on claims that the issuer signed, and says how long
// they may be remembered.
func (v *JWTVerifier) checkClaims(claims *members, now time.Time) (*cachedToken, error) {
	t, err := newAccessToken(claims, v.plain)
	if err != nil {
		return nil, err
	}
	t.life = &v.life
	latest := now.Add(v.life.leeway)
	if t.issuedAt.After(latest) {
		return nil, errors.New("iat is in the future")
	}
	if claims.has("nbf") {
		notBefore := claims.date("nbf")
		if claims.err != nil {
			return nil, claims.err
		}
		if notBefore.After(latest) {
			return nil, errors.New("nbf is in the future")
		}
	}
	if !slices.ContainsFunc(v.audiences, t.HasAudience) {
		return nil, errors.New("aud is another service")
	}
	// From now on: when the clock is set back, iat and nbf are judged again.
	e := &cachedToken{claims: t, from: now, until: t.expiresAt.Add(v.life.leeway)}
	if v.cache != nil && e.until.After(now.Add(v.cache.maxAge)) {
		e.until = now.Add(v.cache.maxAge)
	}
	return e, nil
}

func invalid(reason error) error { return fmt.Errorf("%w: %w", ErrInvalidToken, reason) }

// keyError turns the error of a key source into one of Verify's. A source that
// fails says nothing about the token, so that only an unknown key is held
// against it.
func keyError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrUnknownKey):
		return invalid(err)
	case ctx.Err() != nil:
		return fmt.Errorf("find the key of a token: %w", ctx.Err())
	case errors.Is(err, ErrUnavailable):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
