package provider

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/cloudbase"
	"github.com/lettergate/lettergate/provider/internal/interact"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/web"
)

// A routeGuard does what a route's row says before its handler runs.
type routeGuard struct {
	clients *oauthcore.Clients
	inbound *web.Inbound
	people  *interact.Pages
	apps    *cloudbase.API
	ready   func() bool
	https   bool
}

// router serves the rows that are wanted. Paths match byte for byte: nothing is
// cleaned, redirected or decoded into another route.
func (g *routeGuard) router(table []route, wanted func(route) bool) http.Handler {
	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	for _, row := range table {
		if wanted(row) {
			router.Handle(row.path, g.handler(row))
		}
	}
	router.NotFoundHandler = g.notFound()
	return web.WithRequestID(g.headers(router))
}

// notFound answers what no row is for.
func (g *routeGuard) notFound() http.Handler {
	nothing := oauth.NewError(oauth.CodeInvalidRequest, "There is nothing at this address.").WithStatus(http.StatusNotFound)
	forPeople, forApps := route{person: true}, route{app: true, cors: corsCloudBase}
	page := g.safely(forPeople, func(w http.ResponseWriter, r *http.Request) { g.refuse(w, r, forPeople, nothing) })
	call := g.safely(forApps, func(w http.ResponseWriter, r *http.Request) {
		// A page has to be able to read that there is no such call.
		if !g.cors(w, r, forApps, "GET, POST, PATCH, DELETE") {
			g.apps.NotFound(w, r)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, cloudbase.Prefix) {
			call.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
}

func (g *routeGuard) handler(row route) http.Handler {
	allow := strings.Join(slices.Sorted(maps.Keys(row.methods)), ", ")
	return g.safely(row, func(w http.ResponseWriter, r *http.Request) {
		if row.cache != cachePublic {
			w.Header().Set("Cache-Control", "no-store")
		}
		if g.cors(w, r, row, allow) {
			return
		}
		method := r.Method
		if method == http.MethodHead && (row.cache == cachePublic || row.early) {
			method = http.MethodGet // net/http leaves the body out; nothing else happens there
		}
		handle, ok := row.methods[method]
		switch {
		case !ok:
			w.Header().Set("Allow", allow)
			g.refuse(w, r, row, oauth.NewError(oauth.CodeInvalidRequest,
				"This method is not allowed here; the Allow header lists those that are.").WithStatus(http.StatusMethodNotAllowed))
		case !row.early && !g.ready():
			g.refuse(w, r, row, oauth.NewError(oauth.CodeTemporarilyUnavailable, "The server is starting or stopping; try again in a few seconds."))
		default:
			handle(w, r)
		}
	})
}

// refuse answers in place of a handler, in the row's own form. Where e has a cause it
// is one of ours, and people and apps are told no code of it.
func (g *routeGuard) refuse(w http.ResponseWriter, r *http.Request, row route, e *oauth.Error) {
	cause := e.Err
	if cause == nil {
		cause = e
	}
	switch {
	case row.person:
		g.people.Fail(w, r, e.Status, cause)
	case row.app:
		g.apps.Refuse(w, r, e.Status, cause)
	default:
		g.inbound.WriteError(w, r, e)
	}
}

// cors sets the headers that let pages of other origins read the answer, and
// answers a preflight. It never allows credentials.
func (g *routeGuard) cors(w http.ResponseWriter, r *http.Request, row route, allow string) (answered bool) {
	origin := r.Header.Get("Origin")
	h := w.Header()
	switch row.cors {
	default:
		return false
	case corsAny:
		h.Set("Access-Control-Allow-Origin", "*")
	case corsClients, corsCloudBase:
		h.Add("Vary", "Origin")
		if !g.clients.Origin(origin) {
			origin = ""
		} else {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
		}
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if origin != "" {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		if row.cors == corsCloudBase {
			h.Set("Access-Control-Allow-Headers", cloudbase.AllowedHeaders)
			h.Set("Access-Control-Allow-Methods", allow+", OPTIONS")
		}
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// headers sets what holds for every answer.
func (g *routeGuard) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if g.https {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}
