package oauth

import (
	"cmp"
	"context"
	"crypto"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An IDToken is what an ID token says about a person who signed in (OpenID
// Connect Core section 2). It cannot be changed, so one may be read by many
// requests at the same time.
type IDToken struct {
	issuer, subject, nonce, sessionID, acr string
	audience, amr                          []string
	issuedAt, expiresAt, authTime          time.Time

	claims []jsonMember
}

// Issuer returns who says all this, "iss".
func (t *IDToken) Issuer() string { return t.issuer }

// Subject returns who signed in, "sub". It is unique only together with the
// issuer, and the one name of a person that never changes.
func (t *IDToken) Subject() string { return t.subject }

// Audience returns whom the token is for, "aud", in a new slice.
func (t *IDToken) Audience() []string { return slices.Clone(t.audience) }

// Nonce returns what the token answers, "nonce", or "".
func (t *IDToken) Nonce() string { return t.nonce }

// SessionID returns the issuer's name for the sign-in, "sid", or "" when it has
// none. A logout token may name it.
func (t *IDToken) SessionID() string { return t.sessionID }

// IssuedAt returns when the token was issued, "iat".
func (t *IDToken) IssuedAt() time.Time { return t.issuedAt }

// ExpiresAt returns the time from which the token is not to be accepted, "exp".
// It says nothing about how long the person stays signed in.
func (t *IDToken) ExpiresAt() time.Time { return t.expiresAt }

// AuthTime returns when the person last proved who they are, "auth_time", or the
// zero time when the token does not say.
func (t *IDToken) AuthTime() time.Time { return t.authTime }

// ACR returns the class of that proof, "acr", or "".
func (t *IDToken) ACR() string { return t.acr }

// AMR returns the methods of that proof, "amr", in a new slice.
func (t *IDToken) AMR() []string { return slices.Clone(t.amr) }

// Claim decodes the claim called name into v, as [AccessToken.Claim] does.
// Without the claim v is left alone and the error is [ErrNoClaim].
func (t *IDToken) Claim(name string, v any) error {
	return decodeMember(t.claims, name, v)
}

// InsecureReadIDToken returns what an ID token says, and checks nothing but its
// form. It is for a token that was verified before and that nobody could have
// changed since, such as one that comes out of a sealed cookie.
func InsecureReadIDToken(token string) (*IDToken, error) {
	parts, err := splitToken(token)
	if err != nil {
		return nil, invalid(err)
	}
	m, err := parseMembers(parts.payload)
	if err != nil {
		return nil, invalid(fmt.Errorf("claims: %w", err))
	}
	t, err := newIDToken(m)
	if err != nil {
		return nil, invalid(err)
	}
	return t, nil
}

// newIDToken reads the claims that an ID token has to have and those it may have.
// What is there in another type than it should be is refused, never taken for
// absent.
func newIDToken(m *members) (*IDToken, error) {
	t := &IDToken{
		claims:    m.list,
		issuer:    m.text("iss"),
		subject:   m.text("sub"),
		audience:  m.audience(),
		issuedAt:  m.date("iat"),
		expiresAt: m.date("exp"),
	}
	for name, field := range map[string]*string{"nonce": &t.nonce, "sid": &t.sessionID, "acr": &t.acr} {
		if m.has(name) {
			*field = m.text(name)
		}
	}
	if m.has("amr") {
		t.amr = m.texts("amr")
	}
	if m.has("auth_time") {
		t.authTime = m.date("auth_time")
	}
	return t, m.err
}

// IDTokenConfig says which ID tokens an [IDTokenVerifier] accepts.
type IDTokenConfig struct {
	// Issuer is compared with "iss" byte by byte. Required.
	Issuer string
	// ClientID is the client that the tokens have to be for. Required.
	ClientID string
	// Algorithms, Leeway and Now are those of [JWTConfig], with its defaults.
	Algorithms []string
	Leeway     time.Duration
	Now        func() time.Time
}

// An IDTokenVerifier verifies what an issuer tells one client about a sign-in: ID
// tokens and logout tokens. It takes neither for the other, and no access token
// for any of them. It is safe for concurrent use.
//
// The error of its methods is [ErrInvalidToken] for a token that is bad,
// [ErrUnavailable] for one that could not be judged, or the context's own.
type IDTokenVerifier struct {
	issuer, clientID string
	algorithms       map[string]algorithm
	leeway           time.Duration
	now              func() time.Time
	keys             KeySource
}

// NewIDTokenVerifier returns a verifier for cfg that gets its keys from keys, or
// an error that says which setting is wrong. It makes no request.
func NewIDTokenVerifier(cfg IDTokenConfig, keys KeySource) (*IDTokenVerifier, error) {
	switch {
	case keys == nil:
		return nil, errors.New("oauth: an ID token verifier needs a key source")
	case cfg.Issuer == "":
		return nil, errors.New("oauth: an ID token verifier needs an issuer")
	case cfg.ClientID == "":
		return nil, errors.New("oauth: an ID token verifier needs a client id")
	case cfg.Leeway < 0 || cfg.Leeway > maxLeeway:
		return nil, fmt.Errorf("oauth: leeway %v is not between 0 and %v", cfg.Leeway, maxLeeway)
	}
	v := &IDTokenVerifier{
		issuer: cfg.Issuer, clientID: cfg.ClientID, algorithms: make(map[string]algorithm),
		leeway: cmp.Or(cfg.Leeway, defaultLeeway), now: cfg.Now, keys: keys,
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
	if v.now == nil {
		v.now = time.Now
	}
	return v, nil
}

// Verify verifies the ID token that came with accessToken out of the exchange of
// an authorization code (OpenID Connect Core section 3.1.3.7). The nonce is that
// of the authorization request, and required: it is what keeps a token that was
// made for another sign-in out of this one.
func (v *IDTokenVerifier) Verify(ctx context.Context, token, nonce, accessToken string) (*IDToken, error) {
	if nonce == "" {
		return nil, errors.New("oauth: verify ID token: no nonce to compare with")
	}
	t, err := v.verify(ctx, token, accessToken)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(t.nonce), []byte(nonce)) != 1 {
		return nil, invalid(errors.New("nonce is that of another sign-in, or missing"))
	}
	return t, nil
}

// VerifyRefreshed verifies an ID token that came with accessToken out of a
// refresh, and that it is about the same sign-in as before (OpenID Connect Core
// section 12.2).
func (v *IDTokenVerifier) VerifyRefreshed(ctx context.Context, token string, before *IDToken, accessToken string) (*IDToken, error) {
	t, err := v.verify(ctx, token, accessToken)
	switch {
	case err != nil:
		return nil, err
	case t.subject != before.subject:
		return nil, invalid(errors.New("sub is somebody else than before"))
	case t.nonce != "" && t.nonce != before.nonce:
		return nil, invalid(errors.New("nonce is another one than before"))
	}
	return t, nil
}

// verify checks all that an ID token has to keep wherever it comes from.
func (v *IDTokenVerifier) verify(ctx context.Context, token, accessToken string) (*IDToken, error) {
	o, err := v.open(ctx, token, "JWT")
	if err != nil {
		return nil, err
	}
	t, err := newIDToken(o.claims)
	if err == nil {
		err = v.checkIDToken(t, o, accessToken)
	}
	if err != nil {
		return nil, invalid(err)
	}
	return t, nil
}

func (v *IDTokenVerifier) checkIDToken(t *IDToken, o opened, accessToken string) error {
	m, party := o.claims, ""
	if m.has("azp") {
		party = m.text("azp")
	}
	hash := ""
	if m.has("at_hash") {
		hash = m.text("at_hash")
	}
	switch {
	case m.err != nil:
		return m.err
	case m.has("events"):
		return errors.New("events makes it another kind of token")
	case party != "" && party != v.clientID:
		return errors.New("azp is another client")
	case party == "" && len(t.audience) != 1:
		return errors.New("aud names other clients too, and azp does not say that it is for this one")
	case hash != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(tokenHash(o.algorithm, accessToken))) != 1:
		return errors.New("at_hash is that of another access token")
	}
	return nil
}

// tokenHash is the left half of the hash of a token, by the hash function of the
// algorithm that signs the ID token (OpenID Connect Core section 3.1.3.6; EdDSA
// with Ed25519 uses SHA-512).
func tokenHash(a algorithm, token string) string {
	hash := a.hash
	if hash == 0 {
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write([]byte(token))
	sum := h.Sum(nil)
	return base64url.EncodeToString(sum[:len(sum)/2])
}

// opened is a token of the issuer for this client, of a kind still to be told.
type opened struct {
	claims    *members
	algorithm algorithm
}

// open verifies what ID tokens and logout tokens have in common: form, header,
// signature, issuer, audience and times. typ in the header may be absent, or one
// of types. As in [JWTVerifier.VerifyBound], what costs least comes first and
// nothing is believed before the signature.
func (v *IDTokenVerifier) open(ctx context.Context, token string, types ...string) (opened, error) {
	parts, err := splitToken(token)
	if err != nil {
		return opened{}, invalid(err)
	}
	kid, alg, err := v.checkHeader(parts.header, types)
	if err != nil {
		return opened{}, invalid(err)
	}
	claims, err := parseMembers(parts.payload)
	if err != nil {
		return opened{}, invalid(fmt.Errorf("claims: %w", err))
	}
	if err := v.checkCommon(claims); err != nil {
		return opened{}, invalid(err)
	}
	key, err := v.keys.Key(ctx, kid, alg)
	if err != nil {
		return opened{}, keyError(ctx, err)
	}
	a := v.algorithms[alg]
	if !a.verify(key, parts.signed, parts.signature) {
		return opened{}, invalid(errors.New("the signature is wrong"))
	}
	return opened{claims, a}, nil
}

func (v *IDTokenVerifier) checkHeader(header []byte, types []string) (kid, alg string, err error) {
	m, err := parseMembers(header)
	if err != nil {
		return "", "", fmt.Errorf("header: %w", err)
	}
	if m.has("typ") {
		// Access tokens are signed with the same keys and may name the client as
		// their audience (RFC 8725 section 3.11).
		typ := strings.TrimPrefix(strings.ToLower(m.text("typ")), "application/")
		if m.err == nil && !slices.ContainsFunc(types, func(t string) bool { return strings.EqualFold(t, typ) }) {
			return "", "", errors.New("header: typ is another kind of token")
		}
	}
	if m.has("crit") || m.has("b64") {
		return "", "", errors.New("header: crit or b64 is not supported")
	}
	alg, kid = m.text("alg"), m.text("kid")
	if m.err != nil {
		return "", "", fmt.Errorf("header: %w", m.err)
	}
	if _, ok := v.algorithms[alg]; !ok {
		return "", "", errors.New("header: alg is not allowed")
	}
	return kid, alg, checkKeyID(kid)
}

func (v *IDTokenVerifier) checkCommon(m *members) error {
	issuer, audience := m.text("iss"), m.audience()
	issued, expires := m.date("iat"), m.date("exp")
	now := v.now()
	switch {
	case m.err != nil:
		return m.err
	case issuer != v.issuer:
		return errors.New("iss is another issuer")
	case !slices.Contains(audience, v.clientID):
		return errors.New("aud is another client")
	case !now.Before(expires.Add(v.leeway)):
		return errors.New("the token has expired")
	case issued.After(now.Add(v.leeway)):
		return errors.New("iat is in the future")
	}
	if m.has("nbf") {
		if notBefore := m.date("nbf"); m.err != nil {
			return m.err
		} else if notBefore.After(now.Add(v.leeway)) {
			return errors.New("nbf is in the future")
		}
	}
	return nil
}
