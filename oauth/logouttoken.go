package oauth

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// logoutEvent is the member of "events" that makes a JWT a logout token (OpenID
// Connect Back-Channel Logout section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// maxLogoutAge is how old a logout token may be. It bounds how long anybody has to
// remember one to recognise it.
const maxLogoutAge = time.Hour

// A LogoutToken says that the issuer has ended a session, or all those of a
// person (OpenID Connect Back-Channel Logout section 2.4).
type LogoutToken struct {
	subject, sessionID, id string
	issuedAt, expiresAt    time.Time
}

// Subject returns who was signed out, "sub", or "" when only a session is named.
func (t *LogoutToken) Subject() string { return t.subject }

// SessionID returns the session that ended, "sid", or "" when all of the person's
// did.
func (t *LogoutToken) SessionID() string { return t.sessionID }

// ID returns the token's own name, "jti". Whoever accepts a token remembers it
// until ExpiresAt.
func (t *LogoutToken) ID() string { return t.id }

// IssuedAt returns when the token was issued, "iat".
func (t *LogoutToken) IssuedAt() time.Time { return t.issuedAt }

// ExpiresAt returns the time from which the token is not accepted, "exp".
func (t *LogoutToken) ExpiresAt() time.Time { return t.expiresAt }

// VerifyLogout verifies a logout token (OpenID Connect Back-Channel Logout section
// 2.6). It is at most an hour old, whatever it says about its end. Whether it was
// seen before is for the caller to know, by its ID.
func (v *IDTokenVerifier) VerifyLogout(ctx context.Context, token string) (*LogoutToken, error) {
	// The specification recommends logout+jwt. Issuers from before it did say JWT;
	// events, which no other kind has, and the nonce, which no logout token has,
	// tell the kinds apart even so.
	o, err := v.open(ctx, token, "logout+jwt", "JWT")
	if err != nil {
		return nil, err
	}
	m := o.claims
	t := &LogoutToken{id: m.text("jti"), issuedAt: m.date("iat"), expiresAt: m.date("exp")}
	if m.has("sub") {
		t.subject = m.text("sub")
	}
	if m.has("sid") {
		t.sessionID = m.text("sid")
	}
	var events map[string]map[string]json.RawMessage
	switch {
	case m.err != nil:
		err = m.err
	case decodeMember(m.list, "events", &events) != nil || events[logoutEvent] == nil:
		err = errors.New("events does not say that it is a logout token")
	case m.has("nonce"):
		err = errors.New("a logout token has no nonce")
	case t.subject == "" && t.sessionID == "":
		err = errors.New("it names neither sub nor sid")
	case v.now().Sub(t.issuedAt) > maxLogoutAge+v.leeway:
		err = errors.New("it was issued too long ago")
	}
	if err != nil {
		return nil, invalid(err)
	}
	return t, nil
}
