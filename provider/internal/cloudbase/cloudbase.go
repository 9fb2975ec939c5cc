package cloudbase

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/lettergate/lettergate/provider/internal/account"
	"github.com/lettergate/lettergate/provider/internal/device"
	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/ratelimit"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/internal/web"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// MaxBody is the most bytes a body may have.
const MaxBody = 64 << 10

// Prefix is where the API is, at the root of the origin.
const Prefix = "/auth/"

// GrantType is what grants are called that begin here.
const GrantType = "cloudbase"

// Accounts is the part of users.Directory that the API needs.
type Accounts interface {
	BySubject(ctx context.Context, subject string) (users.User, error)
	ByEmail(ctx context.Context, emailKey string) (users.User, error)
	ByUsername(ctx context.Context, username string) (users.User, error)
	Create(ctx context.Context, u users.User) (users.User, error)
	Update(ctx context.Context, u users.User) (users.User, error)
}

// Deps are what the API works with. All are required.
type Deps struct {
	Store         storage.Store
	Core          *oauthcore.Core
	Verifications *verification.Service
	Passwords     *password.Service
	Devices       *device.Devices
	Changes       *account.Service
	Users         Accounts
	Outbox        interface{ Dispatch(outbox.Ticket) }
	Secrets       *secrets.Ring
	Messages      *messages.Catalogue
	Inbound       *web.Inbound
	Now           func() time.Time
}

// An API is the handlers. It is safe for concurrent use.
type API struct {
	Deps
	clients []*oauthcore.Client // those that are registered for the API
}

// New returns the API.
func New(deps Deps) (*API, error) {
	if deps.Store == nil || deps.Core == nil || deps.Verifications == nil || deps.Passwords == nil || deps.Devices == nil || deps.Changes == nil || deps.Users == nil ||
		deps.Outbox == nil || deps.Secrets == nil || deps.Messages == nil || deps.Inbound == nil || deps.Now == nil {
		return nil, errors.New("cloudbase: all of Deps are required")
	}
	return &API{Deps: deps, clients: deps.Core.Clients().CloudBase()}, nil
}

// Needed reports whether some client is registered for the API.
func (a *API) Needed() bool { return len(a.clients) > 0 }

// A Route is one path with its handlers by method, and what bounds their work.
type Route struct {
	Path    string
	Limit   ratelimit.Class
	Methods map[string]http.HandlerFunc
}

// Routes lists all paths there are, none when no client is registered for them.
func (a *API) Routes() []Route {
	if !a.Needed() {
		return nil
	}
	return a.table()
}

// Table lists the paths with handlers that serve nobody, for whoever reads what holds
// for each.
func Table() []Route { return (&API{}).table() }

func (a *API) table() []Route {
	const get, post, patch, remove = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	type on = map[string]http.HandlerFunc
	v1 := Prefix + "v1/"
	return []Route{
		{v1 + "verification", ratelimit.Sends, on{post: serve(a, anybody, a.startVerification)}},
		{v1 + "verification/verify", ratelimit.Tries, on{post: serve(a, app, a.verify)}},
		{v1 + "signup", ratelimit.Held, on{post: serve(a, app, a.signUp)}},
		{v1 + "signin", ratelimit.Passwords, on{post: serve(a, app, a.signIn)}},
		{v1 + "token", ratelimit.Held, on{post: serve(a, app, a.token)}},
		{v1 + "token/introspect", ratelimit.Held, on{get: serve(a, nobody, a.introspect)}},
		{v1 + "revoke", ratelimit.Held, on{post: serve(a, app, a.revoke)}},
		{v1 + "reset", ratelimit.Held, on{post: serve(a, app, a.reset)}},
		{v1 + "checkIfUserExist", ratelimit.Open, on{get: serve(a, app, a.exists)}},
		{v1 + "captcha/data", ratelimit.Open, on{post: serve(a, app, a.captchaData)}},
		{v1 + "captcha/data/verify", ratelimit.Held, on{post: serve(a, app, a.captchaVerify)}},
		{v1 + "user/me", ratelimit.Held, on{get: serve(a, person, a.me), patch: serve(a, person, a.editProfile), remove: serve(a, person, a.deleteMe)}},
		{v1 + "user/signout", ratelimit.Held, on{post: serve(a, person, a.signOut)}},
		{v1 + "user/sudo", ratelimit.Passwords, on{post: serve(a, person, a.sudo)}},
		{v1 + "user/password", ratelimit.Passwords, on{patch: serve(a, person, a.setPassword)}},
		{v1 + "user/contact", ratelimit.Held, on{patch: serve(a, person, a.contact)}},
		{v1 + "user/basic/edit", ratelimit.Held, on{post: serve(a, person, a.editBasic)}},
		{v1 + "user/profile", ratelimit.Held, on{patch: serve(a, person, a.editProfile)}},
		{v1 + "user/provider", ratelimit.Held, on{get: serve(a, person, a.providers)}},
	}
}

// AllowedHeaders are what a page of another origin may send.
const AllowedHeaders = "authorization, x-device-id, x-request-id, x-sdk-version, content-type, accept-language, x-captcha-token"
