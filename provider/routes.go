package provider

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/lettergate/lettergate/provider/internal/cloudbase"
	"github.com/lettergate/lettergate/provider/internal/endpoint"
	"github.com/lettergate/lettergate/provider/internal/interact"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/mail/devbox"
)

// A corsRule says which web pages of other origins may read an answer.
type corsRule int

const (
	corsNone      corsRule = iota // none: a person looks at it
	corsClients                   // the origins that clients registered
	corsCloudBase                 // the same, with the headers that the CloudBase SDK sends
	corsAny                       // all: it is public and the same for everybody
)

// A cacheRule says whether an answer may be kept.
type cacheRule int

const (
	cacheNever  cacheRule = iota // no-store
	cachePublic                  // as the handler says
)

// A route is one path with everything that holds for it, before its handler runs.
// The zero value of each field is the strict one.
type route struct {
	path    string
	methods map[string]http.HandlerFunc
	cors    corsRule
	cache   cacheRule
	body    int64 // the most bytes a body may have
	person  bool  // errors are pages, not JSON
	app     bool  // errors are those of the CloudBase API
	atRoot  bool  // served by RootHandler too
	early   bool  // answered before the provider is ready
}

type on map[string]http.HandlerFunc

// routeTable lists every route there is. Nothing else is served.
func routeTable(base string, m *endpoint.Endpoints, p *interact.Pages, apps []cloudbase.Route, self *Provider, box *devbox.Box) []route {
	const get, post = http.MethodGet, http.MethodPost
	table := []route{
		{path: base + "/oauth2/authorize", methods: on{get: p.Authorize, post: p.Authorize}, body: oauthcore.MaxForm, person: true},
		{path: base + "/login/email", methods: on{get: p.EmailPage, post: p.Email}, body: oauthcore.MaxPage, person: true},
		{path: base + "/login/code", methods: on{get: p.CodePage, post: p.Code}, body: oauthcore.MaxForm, person: true},
		{path: base + verification.LinkPath, methods: on{get: p.LinkPage, post: p.Link}, body: oauthcore.MaxPage, person: true},
		{path: base + "/login/code/resend", methods: on{post: p.Resend}, body: oauthcore.MaxForm, person: true},
		{path: base + "/consent", methods: on{post: p.Consent}, body: oauthcore.MaxPage, person: true},
		{path: base + "/oauth2/logout", methods: on{get: p.EndSession, post: p.EndSession}, body: oauthcore.MaxForm, person: true},
		{path: base + "/logout", methods: on{get: p.LogoutPage, post: p.Logout}, body: oauthcore.MaxPage, person: true},

		{path: base + "/oauth2/token", methods: on{post: m.Token}, body: oauthcore.MaxForm, cors: corsClients},
		{path: base + "/oauth2/verification", methods: on{post: m.Verification}, body: oauthcore.MaxForm, cors: corsClients},
		{path: base + "/oauth2/userinfo", methods: on{get: m.UserInfo, post: m.UserInfo}, body: oauthcore.MaxForm, cors: corsClients},
		{path: base + "/oauth2/introspect", methods: on{post: m.Introspect}, body: oauthcore.MaxForm},
		{path: base + "/oauth2/revoke", methods: on{post: m.Revoke}, body: oauthcore.MaxForm, cors: corsClients},

		{path: base + "/oauth2/jwks", methods: on{get: m.JWKS}, cors: corsAny, cache: cachePublic},
		{path: base + "/healthz", methods: on{get: self.healthz}, early: true},
		{path: base + "/readyz", methods: on{get: self.readyz}, early: true},
	}
	for _, name := range []string{"openid-configuration", "oauth-authorization-server"} {
		document := route{methods: on{get: m.Metadata}, cors: corsAny, cache: cachePublic}
		document.path = base + "/.well-known/" + name // appended: OpenID Connect Discovery section 4
		document.atRoot = base == ""
		table = append(table, document)
		if base != "" {
			document.path = "/.well-known/" + name + base // inserted: RFC 8414 section 3.1
			document.atRoot = true
			table = append(table, document)
		}
	}
	if len(apps) > 0 { // nobody else has a password
		table = append(table, route{path: base + "/login/password", methods: on{post: p.Password}, body: oauthcore.MaxPage, person: true})
	}
	for _, r := range apps {
		table = append(table, route{path: r.Path, methods: r.Methods, body: cloudbase.MaxBody, cors: corsCloudBase, app: true, atRoot: true})
	}
	if box != nil {
		for _, path := range []string{"/dev/mailbox", "/dev/mailbox/messages.json"} {
			table = append(table, route{path: base + path, methods: on{get: box.ServeHTTP}, person: !strings.HasSuffix(path, ".json")})
		}
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
