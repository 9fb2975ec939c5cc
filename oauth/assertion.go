package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AssertionType is the client_assertion_type of a [ClientAssertion] (RFC 7523
// section 2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxAssertionBytes = 8 << 10
	maxAssertionLife  = 10 * time.Minute
	maxAssertionID    = 255
)

// A ClientAssertion is a JWT with which a client proves who it is to an
// authorization server: private_key_jwt of OpenID Connect Core section 9, by the
// rules of RFC 7523 section 3. [ParseClientAssertion] takes it apart; nothing it
// says is proven before [ClientAssertion.Verify] has returned nil.
//
// It can be used once, which only a server that remembers can see: keep ID, for
// this client, until Until, and refuse one that is there already.
type ClientAssertion struct {
	parts    tokenParts
	kid, alg string

	clientID, id                   string
	audience                       []string
	expiresAt, notBefore, issuedAt time.Time // the last two are zero when absent
}

// ParseClientAssertion takes apart an assertion of at most 8 KiB. It is as strict
// as [JWTVerifier] and asks for what every assertion has: iss and sub that are the
// same, aud, exp, and jti of at most 255 bytes. The error is [ErrInvalidToken].
func ParseClientAssertion(assertion string) (*ClientAssertion, error) {
	if len(assertion) > maxAssertionBytes {
		return nil, invalid(errors.New("the assertion is too long"))
	}
	parts, err := splitToken(assertion)
	if err != nil {
		return nil, invalid(err)
	}
	a := &ClientAssertion{parts: parts}
	if err := a.readHeader(); err != nil {
		return nil, invalid(fmt.Errorf("header: %w", err))
	}
	if err := a.readClaims(); err != nil {
		return nil, invalid(fmt.Errorf("claims: %w", err))
	}
	return a, nil
}

// readHeader reads which key and algorithm the assertion names. As with access
// tokens, members that bring or point to a key are not looked at.
func (a *ClientAssertion) readHeader() error {
	m, err := parseMembers(a.parts.header)
	if err != nil {
		return err
	}
	if m.has("crit") || m.has("b64") {
		return errors.New("crit or b64 is not supported")
	}
	// RFC 7523 names no type. One that says that the client signed something else,
	// such as a request object or a DPoP proof, is believed.
	if m.has("typ") && !assertionTyp(m.text("typ")) {
		return errors.New("typ is that of another kind of JWT")
	}
	a.alg = m.text("alg")
	// A client with one key need not name it (RFC 7515 section 4.1.4).
	if m.has("kid") {
		a.kid = m.text("kid")
	}
	if m.err != nil {
		return m.err
	}
	return checkKeyID(a.kid)
}

func assertionTyp(typ string) bool {
	typ = strings.ToLower(typ)
	typ = strings.TrimPrefix(typ, "application/")
	return typ == "jwt" || typ == "client-authentication+jwt"
}

func (a *ClientAssertion) readClaims() error {
	m, err := parseMembers(a.parts.payload)
	if err != nil {
		return err
	}
	a.clientID, a.id = m.text("iss"), m.text("jti")
	subject := m.text("sub")
	a.audience, a.expiresAt = m.audience(), m.date("exp")
	if m.has("nbf") {
		a.notBefore = m.date("nbf")
	}
	if m.has("iat") {
		a.issuedAt = m.date("iat")
	}
	switch {
	case m.err != nil:
		return m.err
	case subject != a.clientID:
		return errors.New("iss and sub differ")
	case len(a.id) > maxAssertionID:
		return errors.New("jti is longer than 255 bytes")
	}
	return nil
}

// ClientID is who the assertion says it is from (iss and sub). Whoever sent it
// chose this, until Verify has returned nil for the keys of that client.
func (a *ClientAssertion) ClientID() string { return a.clientID }

// ID tells the assertion from every other of the same client (jti).
func (a *ClientAssertion) ID() string { return a.id }

// Until is from when on Verify refuses the assertion.
func (a *ClientAssertion) Until() time.Time { return a.expiresAt.Add(maxLeeway) }

// AssertionRules say which client assertions a server accepts. All are required.
type AssertionRules struct {
	// Audiences are the names of the server. An assertion is for exactly one of
	// them, and for nothing else: one that another server may use as well could be
	// sent on by it.
	Audiences []string
	// Algorithms are the signature algorithms allowed, of those that [JWTConfig]
	// knows.
	Algorithms []string
	// Now is the time.
	Now time.Time
}

// Verify returns nil when the assertion is for this server, valid now and not much
// longer (ten minutes, and a minute for clocks that differ), and signed by a key of
// keys, which have to be those of the client that ClientID names. The error is
// [ErrInvalidToken], [ErrUnavailable] when the keys cannot be had, or that of ctx.
// What needs no key is checked first.
func (a *ClientAssertion) Verify(ctx context.Context, rules AssertionRules, keys KeySource) error {
	if err := a.check(rules); err != nil {
		return invalid(err)
	}
	key, err := keys.Key(ctx, a.kid, a.alg)
	if err != nil {
		return keyError(ctx, err)
	}
	if !algorithms[a.alg].verify(key, a.parts.signed, a.parts.signature) {
		return invalid(errors.New("the signature is wrong"))
	}
	return nil
}

func (a *ClientAssertion) check(rules AssertionRules) error {
	_, known := algorithms[a.alg]
	latest := rules.Now.Add(maxLeeway)
	switch {
	case !known || !slices.Contains(rules.Algorithms, a.alg):
		return errors.New("header: alg is not allowed")
	case len(a.audience) != 1 || !slices.Contains(rules.Audiences, a.audience[0]):
		return errors.New("aud is not this server alone")
	case !rules.Now.Before(a.Until()):
		return errors.New("the assertion has expired")
	case a.expiresAt.After(latest.Add(maxAssertionLife)):
		return errors.New("exp is more than ten minutes ahead")
	case a.notBefore.After(latest):
		return errors.New("nbf is in the future")
	case a.issuedAt.After(latest):
		return errors.New("iat is in the future")
	}
	return nil
}
