package middleware_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// A client that gets a challenge finds the document, and the document names the
// resource as the client knows it.
func TestRS27_Metadata(t *testing.T) {
	for _, c := range []struct{ resource, path string }{
		{"https://notes.example", "/.well-known/oauth-protected-resource"},
		{"https://notes.example/", "/.well-known/oauth-protected-resource"},
		{"https://notes.example/v1/notes", "/.well-known/oauth-protected-resource/v1/notes"},
	} {
		_, g := newGuard(t, middleware.Config{Metadata: oauth.ResourceMetadata{
			Resource: c.resource, AuthorizationServers: []string{"https://id.example/tenant/"}, ScopesSupported: []string{"notes:read"}, Name: "Notes",
		}})
		mux := http.NewServeMux()
		mux.Handle(g.Metadata())
		mux.Handle("/", g.Require()(new(counter)))

		challenge := send(t, mux, "/v1/notes").Header().Get("WWW-Authenticate")
		if want := `Bearer resource_metadata="https://notes.example` + c.path + `"`; challenge != want {
			t.Errorf("challenge %s, want %s", challenge, want)
		}
		w := send(t, mux, c.path)
		var document map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%d %v: %s", w.Code, w.Header(), w.Body)
		}
		want := `{"resource":"` + c.resource + `","authorization_servers":["https://id.example/tenant/"],"scopes_supported":["notes:read"],"bearer_methods_supported":["header"],"resource_name":"Notes"}`
		if strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("got  %s\nwant %s", w.Body, want)
		}
		for method, status := range map[string]int{"HEAD": 200, "OPTIONS": 204, "POST": 405, "PUT": 405, "DELETE": 405, "PATCH": 405} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(method, c.path, strings.NewReader("{}")))
			if w.Code != status || method != "HEAD" && w.Body.Len() != 0 {
				t.Errorf("%s: %d %s", method, w.Code, w.Body)
			}
		}
	}
}

// Every challenge names the document, whatever is wrong.
func TestRS27_EveryChallenge(t *testing.T) {
	i, g := newGuard(t, middleware.Config{Metadata: oauth.ResourceMetadata{Resource: api}})
	handler := new(counter)
	route := g.Protect(middleware.Route{Scopes: []string{"notes:read"}, ACR: []string{"phr"}})(handler)
	const named = `resource_metadata="https://api.example/.well-known/oauth-protected-resource"`
	for authorization, status := range map[string]int{
		"": 401, "Bearer a b": 400, "Bearer x": 401, "Bearer " + i.token("", nil): 403, "Bearer " + i.token("notes:read", nil): 401,
	} {
		w := wantStatus(t, route, handler, get(authorization), status)
		if got := w.Header()["Www-Authenticate"]; len(got) != 1 || !strings.HasSuffix(got[0], named) || strings.Count(got[0], named) != 1 {
			t.Errorf("%q: %q", authorization, got)
		}
	}
}

func TestMetadataSettings(t *testing.T) {
	v := verifierFunc(nil)
	for _, m := range []oauth.ResourceMetadata{
		{Name: "x"}, {AuthorizationServers: []string{"https://id.example"}}, {Documentation: "x"}, {ScopesSupported: []string{"x"}},
		{Resource: "notes"}, {Resource: "http://notes.example"}, {Resource: "https://notes.example?a"}, {Resource: api, ScopesSupported: []string{"a b"}},
	} {
		if _, err := middleware.New(v, middleware.Config{Metadata: m}); err == nil {
			t.Errorf("%+v was accepted", m)
		}
	}
	servers := []string{"https://id.example"}
	g := guardFor(t, v, middleware.Config{Metadata: oauth.ResourceMetadata{Resource: api, AuthorizationServers: servers}})
	servers[0] = "https://evil.example"
	_, h := g.Metadata()
	if w := send(t, h, "/"); strings.Contains(w.Body.String(), "evil") || !slices.Contains(w.Header()["Access-Control-Allow-Origin"], "*") {
		t.Errorf("%s %v", w.Body, w.Header())
	}
	defer func() {
		if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "middleware.Metadata: ") {
			t.Errorf("got %q", s)
		}
	}()
	guardFor(t, v, middleware.Config{}).Metadata()
}
