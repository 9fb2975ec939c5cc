package oauthcore

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"time"

	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth/emailcaptcha"
	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// ACREmail is the authentication context class of a sign-in by emailed code: one
// factor, as strong as the mailbox.
const ACREmail = "urn:lettergate:acr:email"

// A Signer makes and checks JWTs with the provider's keys.
type Signer interface {
	// Sign returns claims as a compact JWS of the given algorithm and type.
	Sign(alg, typ string, claims any) (string, error)
	// Verify returns the payload of a JWS of ours of the given type, whatever its age.
	Verify(token, typ string) (alg, kid string, payload []byte, err error)
}

// A Subjects finds accounts by subject.
type Subjects interface {
	// BySubject returns users.ErrNotFound for a subject without an account.
	BySubject(ctx context.Context, subject string) (users.User, error)
}

// A Sessions knows which browser sessions are still open.
type Sessions interface {
	Alive(ctx context.Context, sid string) (bool, error)
}

// A Consents knows what people have allowed clients.
type Consents interface {
	// Covers returns the id of the consent by which the person allows the client all of
	// the scopes, "" when there is none. What was withdrawn does not come back under its
	// id.
	Covers(ctx context.Context, subject, clientID string, scopes []string) (id string, err error)
}

// Config is what the core needs to know of the deployment.
type Config struct {
	Issuer string
	Tokens config.Tokens
	Now    func() time.Time
	Logger *slog.Logger
}

// Deps are what the core works with. All are required.
type Deps struct {
	Store    storage.Store
	Grants   *fositestore.Store
	Secrets  *secrets.Ring
	Keys     Signer
	Clients  *Clients
	Users    Subjects
	Sessions Sessions
	Consents Consents
	Redeemer emailcaptcha.Redeemer

	// Reused is told of every code and refresh token that was used twice, once its
	// grant is revoked, and once for each revocation. It does not panic.
	Reused func(context.Context, Reuse)
}

// A Core answers protocol requests. It is safe for concurrent use.
type Core struct {
	issuer  string
	lives   config.Tokens
	now     func() time.Time
	log     *slog.Logger
	secrets *secrets.Ring
	keys    Signer
	clients *Clients
	users   Subjects
	session Sessions
	consent Consents
	grants  *fositestore.Store
	store   storage.Store
	reused  func(context.Context, Reuse)
	engine  fosite.OAuth2Provider
	nobody  Client // what unknown clients are compared with
}

// New returns a core. It starts nothing.
func New(cfg Config, deps Deps) (*Core, error) {
	switch {
	case cfg.Issuer == "", cfg.Now == nil, cfg.Logger == nil:
		return nil, errors.New("oauthcore: Issuer, Now and Logger are required")
	case deps.Store == nil, deps.Grants == nil, deps.Secrets == nil, deps.Keys == nil, deps.Clients == nil, deps.Users == nil, deps.Sessions == nil,
		deps.Consents == nil, deps.Redeemer == nil, deps.Reused == nil:
		return nil, errors.New("oauthcore: all of Deps are required")
	}
	keys, err := newNobodysKeys()
	if err != nil {
		return nil, err
	}
	c := &Core{
		issuer: cfg.Issuer, lives: cfg.Tokens, now: cfg.Now, log: cfg.Logger,
		secrets: deps.Secrets, keys: deps.Keys, clients: deps.Clients, users: deps.Users, session: deps.Sessions,
		consent: deps.Consents, grants: deps.Grants, store: deps.Store, reused: deps.Reused,
		nobody: Client{secretHashes: [][sha256.Size]byte{{}}, keys: keys},
	}
	c.engine = newEngine(c, deps.Redeemer)
	return c, nil
}

// Clients returns the registered clients.
func (c *Core) Clients() *Clients { return c.clients }

// Grants returns the store of grants.
func (c *Core) Grants() *fositestore.Store { return c.grants }

// subjectFor makes the sub that a client knows a person by.
func subjectFor(_ *Client, subject string) string { return subject }
