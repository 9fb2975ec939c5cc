package middleware_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware"
)

// A sign-in that is too weak or too long ago is asked for again (RFC 9470), and the
// challenge says all that is needed.
func TestStepUp(t *testing.T) {
	now := time.Now()
	i, g := newGuard(t, middleware.Config{Now: func() time.Time { return now }})
	ago := func(d time.Duration) map[string]any {
		return map[string]any{"auth_time": now.Add(-d).Unix(), "acr": "phr"}
	}
	handler := new(counter)
	for _, c := range []struct {
		name      string
		route     middleware.Route
		claims    map[string]any
		challenge string // the end of it; empty when the request is good
	}{
		{"class", middleware.Route{ACR: []string{"phr", "phrh"}}, map[string]any{"acr": "phrh"}, ""},
		{"other class", middleware.Route{ACR: []string{"phr", "phrh"}}, map[string]any{"acr": "PHR"}, `, acr_values="phr phrh"`},
		{"no class", middleware.Route{ACR: []string{"urn:x:gold"}}, nil, `, acr_values="urn:x:gold"`},
		{"just now", middleware.Route{MaxAge: 5 * time.Minute}, ago(0), ""},
		{"at the limit", middleware.Route{MaxAge: 5 * time.Minute}, ago(299 * time.Second), ""},
		{"too long ago", middleware.Route{MaxAge: 5 * time.Minute}, ago(301 * time.Second), `, max_age="300"`},
		{"unknown", middleware.Route{MaxAge: 5 * time.Minute}, nil, `, max_age="300"`},
		{"unknown, and a lot allowed", middleware.Route{MaxAge: 100 * 365 * 24 * time.Hour}, nil, `, max_age="3153600000"`},
		{"a clock ahead", middleware.Route{MaxAge: 5 * time.Minute}, ago(-30 * time.Second), ""},
		{"the future", middleware.Route{MaxAge: 5 * time.Minute}, ago(-time.Hour), `, max_age="300"`},
		{"both", middleware.Route{ACR: []string{"phr"}, MaxAge: time.Second}, ago(0), ""},
		{"right class, too long ago", middleware.Route{ACR: []string{"phr"}, MaxAge: time.Second}, ago(time.Minute), `, acr_values="phr", max_age="1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status := 200
			if c.challenge != "" {
				status = 401
			}
			w := wantStatus(t, g.Protect(c.route)(handler), handler, get("Bearer "+i.token("", c.claims)), status)
			got := w.Header().Get("WWW-Authenticate")
			if status == 200 {
				return
			}
			if want := `Bearer error="insufficient_user_authentication", error_description="This needs a stronger or a more recent sign-in."` + c.challenge; got != want {
				t.Errorf("challenge\n%s\nwant\n%s", got, want)
			}
			if !strings.Contains(w.Body.String(), `"error":"insufficient_user_authentication"`) {
				t.Errorf("body %s", w.Body)
			}
		})
	}
	// A new sign-in would not bring the scope.
	route := g.Protect(middleware.Route{Scopes: []string{"pay"}, ACR: []string{"phr"}})(handler)
	wantStatus(t, route, handler, get("Bearer "+i.token("", nil)), 403)
}
