package oauth

import (
	"slices"
	"time"
)

// A Confirmation names the key that the bearer of a token has to prove, "cnf" (RFC
// 7800). At most one of its fields is set; the zero value is a token that is bound
// to none.
type Confirmation struct {
	// JKT is the thumbprint of the key that signs DPoP proofs (RFC 9449 section 6.1).
	JKT string
	// X5TS256 is that of the client's TLS certificate (RFC 8705 section 3.1).
	X5TS256 string
}

// An AccessToken is what a verified access token says (RFC 9068). It holds the
// claims, not the token itself. It cannot be changed, so one may be read by many
// requests at the same time.
type AccessToken struct {
	issuer, subject, clientID, id string
	grantID, sessionID, acr       string
	audience, amr                 []string
	scopes                        Scopes
	issuedAt, expiresAt, authTime time.Time
	confirmation                  Confirmation

	claims []jsonMember
	life   *lifetime // by what its verifier judges when it ends; nil: by exp alone
}

// Issuer returns who issued the token, "iss".
func (t *AccessToken) Issuer() string { return t.issuer }

// Subject returns whom the token speaks for, "sub": a user, or the client
// itself. It is unique only together with the issuer.
func (t *AccessToken) Subject() string { return t.subject }

// Audience returns the services the token is meant for, "aud", in a new slice.
func (t *AccessToken) Audience() []string { return slices.Clone(t.audience) }

// HasAudience says whether the token is meant for name, compared exactly.
func (t *AccessToken) HasAudience(name string) bool { return slices.Contains(t.audience, name) }

// ClientID returns the client the token was issued to, "client_id".
func (t *AccessToken) ClientID() string { return t.clientID }

// ID returns the token's own name, "jti".
func (t *AccessToken) ID() string { return t.id }

// GrantID returns the grant that the token came from, "gid", or "" when the
// issuer does not say.
func (t *AccessToken) GrantID() string { return t.grantID }

// SessionID returns the sign-in session that the token belongs to, "sid", or ""
// when there is none.
func (t *AccessToken) SessionID() string { return t.sessionID }

// Scopes returns what the token allows, "scope".
func (t *AccessToken) Scopes() Scopes { return t.scopes }

// IssuedAt returns when the token was issued, "iat".
func (t *AccessToken) IssuedAt() time.Time { return t.issuedAt }

// ExpiresAt returns the time from which the token is no longer good, "exp".
func (t *AccessToken) ExpiresAt() time.Time { return t.expiresAt }

// AuthTime returns when the user last proved who they are, "auth_time", or the
// zero time when the token does not say.
func (t *AccessToken) AuthTime() time.Time { return t.authTime }

// ACR returns the class of that proof, "acr", or "".
func (t *AccessToken) ACR() string { return t.acr }

// AMR returns the methods of that proof, "amr", in a new slice.
func (t *AccessToken) AMR() []string { return slices.Clone(t.amr) }

// Confirmation returns what the token is bound to, the zero value for a plain
// bearer token.
func (t *AccessToken) Confirmation() Confirmation { return t.confirmation }

// Claim decodes the claim called name into v, a pointer as for json.Unmarshal.
// Names of struct fields match exactly, and an object that has a member twice is
// an error. Without the claim v is left alone and the error is [ErrNoClaim].
func (t *AccessToken) Claim(name string, v any) error {
	return decodeMember(t.claims, name, v)
}

// newAccessToken reads all claims that an access token has to have and those it
// may have, RFC 9068 section 2.2. What is there in another type than it should
// be is refused, never taken for absent. With plain, some may have other names or be
// absent.
func newAccessToken(m *members, plain bool) (*AccessToken, error) {
	t := &AccessToken{
		issuer:    m.text("iss"),
		subject:   m.text("sub"),
		audience:  m.audience(),
		issuedAt:  m.date("iat"),
		expiresAt: m.date("exp"),
	}
	if plain {
		t.readPlain(m)
	} else {
		t.clientID, t.id = m.text("client_id"), m.text("jti")
	}
	if m.has("gid") {
		t.grantID = m.text("gid")
	}
	if m.has("sid") {
		t.sessionID = m.text("sid")
	}
	if m.has("acr") {
		t.acr = m.text("acr")
	}
	if m.has("amr") {
		t.amr = m.texts("amr")
	}
	if m.has("auth_time") {
		t.authTime = m.date("auth_time")
	}
	if m.has("scope") {
		t.scopes = m.scopes()
	}
	if m.has("cnf") {
		t.confirmation = m.confirmation()
	}
	t.claims = m.list
	return t, m.err
}
