package middleware_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// oneChallenge is a challenge of RFC 9110 section 11.6.1 as it is written here: all
// values quoted, and nothing in them that would have to be escaped.
var oneChallenge = regexp.MustCompile(`^(Bearer|DPoP)( [a-z_]+="[ !#-\[\]-~]*"(, [a-z_]+="[ !#-\[\]-~]*")*)?$`)

// Whatever a program puts into its errors, scopes, classes and names, what stands in
// WWW-Authenticate is challenges, one per value, and each parameter once.
func FuzzChallenges(f *testing.F) {
	i := newIssuer()
	f.Cleanup(i.close)
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		f.Fatal(err)
	}
	token := "Bearer " + i.token("notes", nil)
	f.Add("insufficient_scope", `say "please"`, "notes", "phr", "https://api.example/notes")
	f.Add("a\"b", "x\r\nSet-Cookie: a=b", "notes write", "", `https://api.example/"\`)
	f.Add("", "ä\x00\\", "", "a\"b", "https://api.example\", error=\"x")
	f.Fuzz(func(t *testing.T, code, description, scope, class, resource string) {
		cfg := middleware.Config{
			Metadata: oauth.ResourceMetadata{Resource: resource}, DPoP: new(oauth.DPoPConfig), BaseURLs: []string{api},
			Logger: slog.New(slog.DiscardHandler),
		}
		g, err := middleware.New(v, cfg)
		if err != nil {
			return
		}
		told := &oauth.Error{Code: code, Description: description, Status: 401}
		for _, route := range []middleware.Route{
			{Check: func(context.Context, *oauth.AccessToken) error { return told }}, {Scopes: []string{scope}}, {ACR: []string{class}},
		} {
			protected := protectOrNil(g, route)
			if protected == nil {
				continue
			}
			for _, authorization := range []string{token, "", "Bearer a b", "Bearer x", "DPoP x"} {
				w := httptest.NewRecorder()
				protected.ServeHTTP(w, get(authorization))
				for _, value := range w.Header()["Www-Authenticate"] {
					if !oneChallenge.MatchString(value) {
						t.Fatalf("%q is no challenge", value)
					}
					for _, name := range []string{"error", "error_description", "scope", "acr_values", "algs", "resource_metadata"} {
						if strings.Count(outsideQuotes(value), " "+name+"=") > 1 {
							t.Errorf("%s comes twice in %q", name, value)
						}
					}
				}
			}
		}
	})
}

// outsideQuotes takes the quoted parts out.
func outsideQuotes(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// protectOrNil returns nil for a route that cannot be.
func protectOrNil(g *middleware.Guard, route middleware.Route) (protected http.Handler) {
	defer func() {
		if recover() != nil {
			protected = nil
		}
	}()
	return g.Protect(route)(new(counter))
}
