package fositestore

import (
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/jwt"
)

// Session is what fosite carries from request to response. It decides nothing:
// what a token says comes from the grant, when it ends from our own strategies.
type Session struct {
	Subject     string
	AuthTime    time.Time
	ACR         string
	AMR         []string
	SessionID   string
	Consent     string // the person's consent that what is granted rests on, "" for none
	Nonce       string
	RequestedAt time.Time

	claims  *jwt.IDTokenClaims
	headers *jwt.Headers
	expires map[fosite.TokenType]time.Time
}

var _ openid.Session = (*Session)(nil)

// SetAuthentication records who was authenticated, when and how.
func (s *Session) SetAuthentication(subject string, at time.Time, acr string, amr []string) {
	s.Subject, s.AuthTime, s.ACR, s.AMR = subject, at, acr, amr
}

// IDTokenClaims are fosite's view of the claims. Only the access token's hash is
// read from them when an ID token is made.
func (s *Session) IDTokenClaims() *jwt.IDTokenClaims {
	if s.claims == nil {
		s.claims = &jwt.IDTokenClaims{}
	}
	s.claims.Subject, s.claims.AuthTime, s.claims.RequestedAt = s.Subject, s.AuthTime, s.RequestedAt
	return s.claims
}

// IDTokenHeaders tell fosite by their "alg" which hash at_hash is made with.
func (s *Session) IDTokenHeaders() *jwt.Headers {
	if s.headers == nil {
		s.headers = &jwt.Headers{Extra: map[string]any{}}
	}
	return s.headers
}

// SetExpiresAt and the rest implement fosite.Session.
func (s *Session) SetExpiresAt(key fosite.TokenType, exp time.Time) {
	if s.expires == nil {
		s.expires = map[fosite.TokenType]time.Time{}
	}
	s.expires[key] = exp
}

// GetExpiresAt implements fosite.Session.
func (s *Session) GetExpiresAt(key fosite.TokenType) time.Time { return s.expires[key] }

// GetUsername implements fosite.Session; we have no use for it.
func (s *Session) GetUsername() string { return "" }

// GetSubject implements fosite.Session.
func (s *Session) GetSubject() string { return s.Subject }

// Clone implements fosite.Session.
func (s *Session) Clone() fosite.Session {
	c := *s
	c.claims, c.headers, c.expires = nil, nil, nil
	return &c
}
