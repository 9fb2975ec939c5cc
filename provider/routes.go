package provider

import (
	"encoding/json"
	"net/http"

	"github.com/lettergate/lettergate/provider/internal/cloudbase"
	"github.com/lettergate/lettergate/provider/internal/endpoint"
	"github.com/lettergate/lettergate/provider/internal/interact"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/ratelimit"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/mail/devbox"
)

// A corsRule says which web pages of other origins may read an answer. The zero value
// is not declared, and works as corsNone.
type corsRule int

const (
	corsNone      corsRule = iota + 1 // none: a person looks at it, or a server
	corsClients                       // the origins that clients registered
	corsCloudBase                     // the same, with the headers that the CloudBase SDK sends
	corsAny                           // all: it is public and the same for everybody
)

// A cacheRule says whether an answer may be kept. The zero value is not declared, and
// works as cacheNever.
type cacheRule int

const (
	cacheNever  cacheRule = iota + 1 // no-store
	cachePublic                      // as the handler says
)

// A route is one path with everything that holds for it, before its handler runs.
// The zero value of each field is the strict one; TestRouteTable wants what has no zero
// value of its own to be said.
type route struct {
	path    string
	methods map[string]http.HandlerFunc
	limit   ratelimit.Class // what the handler's work is bounded by
	cors    corsRule
	cache   cacheRule
	body    int64 // the most bytes a body may have
	person  bool  // errors are pages, not JSON
	app     bool  // errors are those of the CloudBase API
	atRoot  bool  // served by RootHandler too
	early   bool  // answered before the provider is ready
}

type on map[string]http.HandlerFunc

// pageRow is for people.
func pageRow(path string, limit ratelimit.Class, body int64, methods on) route {
	return route{path: path, methods: methods, limit: limit, cors: corsNone, cache: cacheNever, body: body, person: true}
}

// machineRow is for clients, and the web pages that cors says.
func machineRow(path string, limit ratelimit.Class, cors corsRule, methods on) route {
	return route{path: path, methods: methods, limit: limit, cors: cors, cache: cacheNever, body: oauthcore.MaxForm}
}

// documentRow is public, and rendered before anybody asks.
func documentRow(path string, handler http.HandlerFunc) route {
	return route{path: path, methods: on{http.MethodGet: handler}, limit: ratelimit.Open, cors: corsAny, cache: cachePublic}
}

// healthRow is for whoever watches over this process.
func healthRow(path string, handler http.HandlerFunc) route {
	return route{path: path, methods: on{http.MethodGet: handler}, limit: ratelimit.Open, cors: corsNone, cache: cacheNever, early: true}
}

// appRow is a call of the CloudBase API.
func appRow(r cloudbase.Route) route {
	return route{path: r.Path, methods: r.Methods, limit: r.Limit, cors: corsCloudBase, cache: cacheNever, body: cloudbase.MaxBody, app: true, atRoot: true}
}

// routeTable lists every route there is. Nothing else is served.
func routeTable(base string, m *endpoint.Endpoints, p *interact.Pages, apps []cloudbase.Route, self *Provider, box *devbox.Box) []route {
	const get, post = http.MethodGet, http.MethodPost
	table := []route{
		pageRow(base+"/oauth2/authorize", ratelimit.Held, oauthcore.MaxForm, on{get: p.Authorize, post: p.Authorize}),
		pageRow(base+"/login/email", ratelimit.Sends, oauthcore.MaxPage, on{get: p.EmailPage, post: p.Email}),
		pageRow(base+"/login/code", ratelimit.Tries, oauthcore.MaxForm, on{get: p.CodePage, post: p.Code}),
		pageRow(base+verification.LinkPath, ratelimit.Held, oauthcore.MaxPage, on{get: p.LinkPage, post: p.Link}),
		pageRow(base+"/login/code/resend", ratelimit.Sends, oauthcore.MaxForm, on{post: p.Resend}),
		pageRow(base+"/consent", ratelimit.Held, oauthcore.MaxPage, on{post: p.Consent}),
		pageRow(base+"/oauth2/logout", ratelimit.Held, oauthcore.MaxForm, on{get: p.EndSession, post: p.EndSession}),
		pageRow(base+"/logout", ratelimit.Held, oauthcore.MaxPage, on{get: p.LogoutPage, post: p.Logout}),

		machineRow(base+"/oauth2/token", ratelimit.Tries, corsClients, on{post: m.Token}),
		machineRow(base+"/oauth2/verification", ratelimit.Sends, corsClients, on{post: m.Verification}),
		machineRow(base+"/oauth2/userinfo", ratelimit.Held, corsClients, on{get: m.UserInfo, post: m.UserInfo}),
		machineRow(base+"/oauth2/introspect", ratelimit.Clients, corsNone, on{post: m.Introspect}),
		machineRow(base+"/oauth2/revoke", ratelimit.Held, corsClients, on{post: m.Revoke}),

		documentRow(base+"/oauth2/jwks", m.JWKS),
		healthRow(base+"/healthz", self.healthz),
		healthRow(base+"/readyz", self.readyz),
	}
	for _, name := range []string{"openid-configuration", "oauth-authorization-server"} {
		appended := documentRow(base+"/.well-known/"+name, m.Metadata) // OpenID Connect Discovery section 4
		appended.atRoot = base == ""
		table = append(table, appended)
		if base != "" {
			inserted := documentRow("/.well-known/"+name+base, m.Metadata) // RFC 8414 section 3.1
			inserted.atRoot = true
			table = append(table, inserted)
		}
	}
	if len(apps) > 0 { // nobody else has a password
		table = append(table, pageRow(base+"/login/password", ratelimit.Passwords, oauthcore.MaxPage, on{post: p.Password}))
	}
	for _, r := range apps {
		table = append(table, appRow(r))
	}
	if box != nil {
		messages := pageRow(base+"/dev/mailbox/messages.json", ratelimit.Open, 0, on{get: box.ServeHTTP})
		messages.person = false
		table = append(table, pageRow(base+"/dev/mailbox", ratelimit.Open, 0, on{get: box.ServeHTTP}), messages)
	}
	return table
}

// healthz says that the process answers.
func (p *Provider) healthz(w http.ResponseWriter, _ *http.Request) {
	writeHealth(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether requests can be served, and what each part that is needed
// says about it.
func (p *Provider) readyz(w http.ResponseWriter, r *http.Request) {
	checks := map[string]string{"store": "ok", "keys": "ok"}
	status := http.StatusOK
	if err := p.store.Ping(r.Context()); err != nil {
		checks["store"], status = "unavailable", http.StatusServiceUnavailable
		if p.ready.Load() { // while starting, Run says what it waits for
			p.log.Warn("the store does not answer", "err", err)
		}
	}
	if !p.ready.Load() {
		checks["keys"], status = "not loaded", http.StatusServiceUnavailable
	}
	word := map[bool]string{true: "ok", false: "unavailable"}[status == http.StatusOK]
	writeHealth(w, status, struct {
		Status string            `json:"status"`
		Checks map[string]string `json:"checks"`
	}{word, checks})
}

func writeHealth(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // a peer that went away is nobody's error
}
