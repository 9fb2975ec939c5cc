package fositestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// Clients finds a client by its id.
type Clients interface {
	Client(id string) (fosite.Client, bool)
}

// A Policy is how long the parts of a grant live.
type Policy struct {
	Code         time.Duration
	RefreshIdle  time.Duration
	RefreshMax   time.Duration
	RefreshGrace time.Duration // 0 ends the family at any second use
}

// A Store gives fosite its storage interfaces over grant records. It is safe for
// concurrent use; each request works through a Unit of its own.
type Store struct {
	policy  Policy
	now     func() time.Time
	records storage.Store
	secrets *secrets.Ring
	clients Clients
}

// New returns a store of grants kept in records.
func New(policy Policy, now func() time.Time, records storage.Store, ring *secrets.Ring, clients Clients) *Store {
	return &Store{policy: policy, now: now, records: records, secrets: ring, clients: clients}
}

var (
	_ fosite.Storage                     = (*Store)(nil)
	_ oauth2.CoreStorage                 = (*Store)(nil)
	_ oauth2.TokenRevocationStorage      = (*Store)(nil)
	_ openid.OpenIDConnectRequestStorage = (*Store)(nil)
	_ oauth2.AuthorizeCodeStrategy       = (*Store)(nil)
	_ oauth2.RefreshTokenStrategy        = (*Store)(nil)
)

// GetClient implements fosite.ClientManager.
func (s *Store) GetClient(_ context.Context, id string) (fosite.Client, error) {
	if c, ok := s.clients.Client(id); ok {
		return c, nil
	}
	return nil, fosite.ErrNotFound
}

var errNoAssertions = errors.New("client assertions are not handled by fosite here")

// ClientAssertionJWTValid implements fosite.ClientManager. Clients are
// authenticated before fosite sees them, so it is never reached.
func (s *Store) ClientAssertionJWTValid(context.Context, string) error { return errNoAssertions }

// SetClientAssertionJWT implements fosite.ClientManager; see ClientAssertionJWTValid.
func (s *Store) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return errNoAssertions
}

// The strategies of codes and refresh tokens. What fosite calls a signature is
// here the token itself: it stays inside the process, and the storage methods
// below find the grant by it.

// AuthorizeCodeSignature implements oauth2.AuthorizeCodeStrategy.
func (s *Store) AuthorizeCodeSignature(_ context.Context, code string) string { return code }

// GenerateAuthorizeCode implements oauth2.AuthorizeCodeStrategy.
func (s *Store) GenerateAuthorizeCode(ctx context.Context, _ fosite.Requester) (code, signature string, err error) {
	code, err = UnitOf(ctx).issueCode()
	return code, code, err
}

// ValidateAuthorizeCode implements oauth2.AuthorizeCodeStrategy: the code was
// matched when its grant was loaded, its age is judged here.
func (s *Store) ValidateAuthorizeCode(ctx context.Context, _ fosite.Requester, _ string) error {
	u := UnitOf(ctx)
	if u.grant == nil || u.now.UnixMilli() >= u.grant.CodeExpires {
		return fosite.ErrTokenExpired
	}
	return nil
}

// RefreshTokenSignature implements oauth2.RefreshTokenStrategy.
func (s *Store) RefreshTokenSignature(_ context.Context, token string) string { return token }

// GenerateRefreshToken implements oauth2.RefreshTokenStrategy: it rotates the
// grant's refresh token, or repeats the current one within the grace period.
func (s *Store) GenerateRefreshToken(ctx context.Context, _ fosite.Requester) (token, signature string, err error) {
	token, err = UnitOf(ctx).issueRefresh()
	return token, token, err
}

// ValidateRefreshToken implements oauth2.RefreshTokenStrategy.
func (s *Store) ValidateRefreshToken(ctx context.Context, _ fosite.Requester, _ string) error {
	u := UnitOf(ctx)
	if now := u.now.UnixMilli(); now >= u.grant.RefreshIdle || now >= u.grant.RefreshMax {
		return fosite.ErrTokenExpired
	}
	return nil
}

// CreateAuthorizeCodeSession implements oauth2.AuthorizeCodeStorage: it begins the grant.
func (s *Store) CreateAuthorizeCodeSession(ctx context.Context, _ string, request fosite.Requester) error {
	u := UnitOf(ctx)
	session, ok := request.GetSession().(*Session)
	if !ok {
		return fmt.Errorf("session is a %T", request.GetSession())
	}
	hash := sha256.Sum256(u.codeSecret)
	u.Create(Grant{
		State:       stateCode,
		Type:        "authorization_code",
		ClientID:    request.GetClient().GetID(),
		Subject:     session.Subject,
		SessionID:   session.SessionID,
		Scopes:      slices.Clone(request.GetGrantedScopes()),
		Audience:    slices.Clone(request.GetGrantedAudience()),
		AuthTime:    session.AuthTime.Unix(),
		ACR:         session.ACR,
		AMR:         session.AMR,
		Consent:     session.Consent != "",
		ConsentID:   session.Consent,
		CodeHash:    hash[:],
		CodeExpires: u.now.Add(s.policy.Code).UnixMilli(),
		RedirectURI: request.GetRequestForm().Get("redirect_uri"),
		Nonce:       session.Nonce,
	})
	return nil
}

// GetAuthorizeCodeSession implements oauth2.AuthorizeCodeStorage. A code of
// another client counts as unknown, so that nobody but its owner can replay it.
func (s *Store) GetAuthorizeCodeSession(ctx context.Context, code string, _ fosite.Session) (fosite.Requester, error) {
	u := UnitOf(ctx)
	if err := u.loadByCode(ctx, code); err != nil {
		return nil, notFound(err)
	}
	if !s.ownedByCaller(ctx, u.grant) {
		return nil, fosite.ErrNotFound
	}
	request, ok := s.request(u.grant)
	if !ok {
		return nil, fosite.ErrNotFound
	}
	switch u.grant.State {
	case stateCode:
		return request, nil
	case stateActive:
		u.reused = true
		return request, fosite.ErrInvalidatedAuthorizeCode
	}
	return nil, fosite.ErrNotFound
}

// InvalidateAuthorizeCodeSession implements oauth2.AuthorizeCodeStorage.
func (s *Store) InvalidateAuthorizeCodeSession(ctx context.Context, _ string) error {
	u := UnitOf(ctx)
	u.grant.State, u.dirty, u.spends = stateActive, true, true
	return nil
}

// CreateAccessTokenSession implements oauth2.AccessTokenStorage. The token is not
// stored; the strategy that made it noted how long the grant has to be kept.
func (s *Store) CreateAccessTokenSession(context.Context, string, fosite.Requester) error { return nil }

// GetAccessTokenSession implements oauth2.AccessTokenStorage. Access tokens carry
// what they are, so nothing is ever looked up by one.
func (s *Store) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, fosite.ErrNotFound
}

// DeleteAccessTokenSession implements oauth2.AccessTokenStorage; see GetAccessTokenSession.
func (s *Store) DeleteAccessTokenSession(context.Context, string) error { return nil }

// CreateRefreshTokenSession implements oauth2.RefreshTokenStorage: the grant holds
// its generation since the token was made.
func (s *Store) CreateRefreshTokenSession(context.Context, string, string, fosite.Requester) error {
	return nil
}

// GetRefreshTokenSession implements oauth2.RefreshTokenStorage. A token of another
// client counts as unknown: it cannot end its owner's family.
func (s *Store) GetRefreshTokenSession(ctx context.Context, token string, _ fosite.Session) (fosite.Requester, error) {
	u := UnitOf(ctx)
	if err := u.loadByRefresh(ctx, token); err != nil {
		return nil, notFound(err)
	}
	if !u.grant.Active() || !s.ownedByCaller(ctx, u.grant) {
		return nil, fosite.ErrNotFound
	}
	request, ok := s.request(u.grant)
	if !ok {
		return nil, fosite.ErrNotFound
	}
	switch {
	case u.presented == u.grant.Generation:
		return request, nil
	case u.presented > u.grant.Generation:
		// Ours by its MAC but not yet issued as far as the store remembers: the
		// store has lost writes. Nothing is known about it, so nothing is revoked.
		return nil, fosite.ErrNotFound
	case u.inGrace():
		u.grace = true
		return request, nil
	}
	u.reused = true
	return request, fosite.ErrInactiveToken
}

// DeleteRefreshTokenSession implements oauth2.RefreshTokenStorage; fosite calls it
// on reuse, before RevokeRefreshToken.
func (s *Store) DeleteRefreshTokenSession(context.Context, string) error { return nil }

// RotateRefreshToken implements oauth2.RefreshTokenStorage; the rotation happened
// when the successor was made, and decides at Commit.
func (s *Store) RotateRefreshToken(context.Context, string, string) error { return nil }

// RevokeRefreshToken implements oauth2.TokenRevocationStorage: it ends the grant.
func (s *Store) RevokeRefreshToken(ctx context.Context, _ string) error {
	UnitOf(ctx).Revoke()
	return nil
}

// RevokeAccessToken implements oauth2.TokenRevocationStorage: it ends the grant.
func (s *Store) RevokeAccessToken(ctx context.Context, _ string) error {
	UnitOf(ctx).Revoke()
	return nil
}

// CreateOpenIDConnectSession implements openid.OpenIDConnectRequestStorage: what an
// ID token needs is in the grant since its code was made.
func (s *Store) CreateOpenIDConnectSession(context.Context, string, fosite.Requester) error {
	return nil
}

// GetOpenIDConnectSession implements openid.OpenIDConnectRequestStorage. The
// session is the token request's own, so that what fosite notes there is seen when
// the ID token is made.
func (s *Store) GetOpenIDConnectSession(ctx context.Context, _ string, requester fosite.Requester) (fosite.Requester, error) {
	u := UnitOf(ctx)
	if u.grant == nil || !slices.Contains(u.grant.Scopes, "openid") {
		return nil, openid.ErrNoSessionFound
	}
	return requester, nil
}

// DeleteOpenIDConnectSession implements openid.OpenIDConnectRequestStorage.
func (s *Store) DeleteOpenIDConnectSession(context.Context, string) error { return nil }

// ownedByCaller reports whether the authenticated client of the token request is
// the one the grant was made for.
func (s *Store) ownedByCaller(ctx context.Context, g *Grant) bool {
	r, ok := ctx.Value(fosite.AccessRequestContextKey).(fosite.AccessRequester)
	return ok && r.GetClient() != nil && r.GetClient().GetID() == g.ClientID
}

// request renders a grant as the request that fosite once made it from. It fails
// when the grant's client is gone.
func (s *Store) request(g *Grant) (*fosite.Request, bool) {
	client, ok := s.clients.Client(g.ClientID)
	if !ok {
		return nil, false
	}
	form := map[string][]string{}
	if g.RedirectURI != "" {
		form["redirect_uri"] = []string{g.RedirectURI}
	}
	return &fosite.Request{
		ID:                g.ID,
		RequestedAt:       time.UnixMilli(g.CreatedAt),
		Client:            client,
		RequestedScope:    slices.Clone(g.Scopes),
		GrantedScope:      slices.Clone(g.Scopes),
		RequestedAudience: slices.Clone(g.Audience),
		GrantedAudience:   slices.Clone(g.Audience),
		Form:              form,
		Session:           g.Session(),
	}, true
}

func notFound(err error) error {
	if errors.Is(err, errNoGrant) {
		return fosite.ErrNotFound
	}
	return err
}
