//go:build browser

package interop_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/middleware/session"
)

// testSession signs in with oidc-provider, and calls the service with the token.
func testSession(t *testing.T, folder string) {
	a := newApp(t)
	i := newNodeIssuer(t, folder)
	i.config.Clients = append(i.config.Clients, map[string]any{
		"client_id": "app", "client_secret": clientSecret, "redirect_uris": []string{a.url + "/auth/callback"},
		"grant_types":            []string{"authorization_code", "refresh_token"},
		"backchannel_logout_uri": a.url + "/auth/backchannel-logout", "backchannel_logout_session_required": true,
	})
	r := newResource("jwt", "ES256")
	r.LifeInSec = 600
	i.config.Resources[api] = r
	i.start(newKey(t, "r", ""), newKey(t, "e", "ES256"))
	a.start(session.Config{
		Issuer: i.url, Scopes: []string{"openid", "offline_access", "notes:read"},
		Params: url.Values{"resource": {api}, "prompt": {"consent"}}, // which offline_access needs
	})
	verifier, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	route := protect(verifier, "notes:read")

	ann := newPerson(t, url.Values{"login": {"ann"}, "password": {"any"}, "logout": {"yes"}})
	if at := ann.visit(a.url + "/notes"); at.String() != a.url+"/notes" {
		t.Fatalf("signed in, and came to %s", at)
	}
	subject, _, token := a.shows(ann)
	if subject != "ann" {
		t.Errorf("signed in as %s", subject)
	}
	passes(t, route, token, "ann by app with notes:read")

	// She signs out at the issuer, which tells the app.
	ann.visit(i.url + "/session/end")
	a.asksToSignIn(ann, i.url)

	ann.visit(a.url + "/")
	a.refreshes(ann, 10*time.Minute)
	_, _, token = a.shows(ann)
	passes(t, route, token, "ann by app with notes:read")

	if at := a.signOut(ann); !strings.HasPrefix(at.String(), i.url) {
		t.Errorf("signed out at %s", at)
	}
	a.asksToSignIn(ann, i.url)
}
