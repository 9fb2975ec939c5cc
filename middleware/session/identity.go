package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/oauth2"

	"github.com/lettergate/lettergate/oauth"
)

// ErrNoToken says that there is no access token that could be used: nobody is
// signed in, or it has ended and could not be replaced.
var ErrNoToken = errors.New("session: no access token")

// An Identity is what the issuer says about the person who is signed in. It
// cannot be changed.
type Identity struct {
	id   *oauth.IDToken
	info map[string]json.RawMessage
}

// Subject returns the one name of the person that never changes, "sub". It is
// unique at the issuer.
func (i *Identity) Subject() string { return i.id.Subject() }

// IDToken returns the ID token of the sign-in, or the newest one since.
func (i *Identity) IDToken() *oauth.IDToken { return i.id }

// Email returns the person's address, and whether the issuer has checked that it
// is theirs. Without the scope email it is "". Do not recognise people by it.
//
// Where ID token and userinfo endpoint name two addresses, that of the ID token counts,
// and only what is said beside an address says that it was checked.
func (i *Identity) Email() (address string, verified bool) {
	switch err := i.id.Claim("email", &address); {
	case err == nil:
		if err := i.id.Claim("email_verified", &verified); !errors.Is(err, oauth.ErrNoClaim) {
			return address, err == nil && verified
		}
		var other string
		if json.Unmarshal(i.info["email"], &other) != nil || other != address {
			return address, false
		}
	case !errors.Is(err, oauth.ErrNoClaim) || json.Unmarshal(i.info["email"], &address) != nil:
		return "", false
	}
	err := json.Unmarshal(i.info["email_verified"], &verified)
	return address, err == nil && verified
}

// Claim decodes the claim called name into v, a pointer as for json.Unmarshal. The
// ID token counts before what the userinfo endpoint said at sign-in. Without the
// claim v is left alone and the error is [oauth.ErrNoClaim].
func (i *Identity) Claim(name string, v any) error {
	err := i.id.Claim(name, v)
	if !errors.Is(err, oauth.ErrNoClaim) {
		return err
	}
	raw, ok := i.info[name]
	if !ok {
		return oauth.ErrNoClaim
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("decode claim %q: %w", name, err)
	}
	return nil
}

// parseObject reads a JSON object that has no member twice.
func parseObject(data []byte) (map[string]json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, errors.New("not a JSON object without repeated members")
	}
	return object, nil
}

// current is the session of a request.
type current struct {
	owner    *Sessions
	identity *Identity
	state    state
}

type currentKey struct{}

func currentOf(ctx context.Context) *current {
	c, _ := ctx.Value(currentKey{}).(*current)
	return c
}

// User returns who is signed in. It is false outside of [Sessions.Require] and,
// inside of [Sessions.Optional], when nobody is.
func User(ctx context.Context) (*Identity, bool) {
	c := currentOf(ctx)
	if c == nil {
		return nil, false
	}
	return c.identity, true
}

// TokenSource returns the access token of the request's session, for calls in the
// person's name. The token was fresh when the request arrived: it lives on for a
// minute or a fifth of its life, whichever is less. It is not replaced while the
// request runs, and after its end the error is ErrNoToken.
func TokenSource(ctx context.Context) oauth2.TokenSource { return contextTokens{currentOf(ctx)} }

type contextTokens struct{ *current }

// Token implements [oauth2.TokenSource].
func (c contextTokens) Token() (*oauth2.Token, error) {
	if c.current == nil || !c.state.alive(c.owner.now()) {
		return nil, ErrNoToken
	}
	t := &oauth2.Token{AccessToken: c.state.Access, TokenType: "Bearer"}
	if c.state.AccessExpires > 0 {
		t.Expiry = time.UnixMilli(c.state.AccessExpires)
	}
	return t, nil
}

// Client returns a client that sends the access token of the request's session
// with everything it is asked to send: ask it only for what the token is for. It
// does not follow a redirect to another origin, which would get the token too.
func Client(ctx context.Context) *http.Client {
	client := oauth2.NewClient(ctx, TokenSource(ctx))
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if from := via[0].URL; from.Scheme != r.URL.Scheme || from.Host != r.URL.Host || len(via) >= 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return client
}
