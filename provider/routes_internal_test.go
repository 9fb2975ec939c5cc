package provider

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/internal/cloudbase"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/mail/devbox"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestRouteTable compares what holds for each route with testdata/routes.golden, so
// that a route cannot be added or loosened without somebody reading its row.
func TestRouteTable(t *testing.T) {
	var golden strings.Builder
	for _, base := range []string{"", "/id"} {
		for _, box := range []*devbox.Box{nil, {}} {
			table := routeTable(base, nil, nil, cloudbase.Table(), &Provider{}, box)
			checkRows(t, base, table)
			if (base == "") == (box != nil) {
				continue // two of the four say it all
			}
			fmt.Fprintf(&golden, "# issuer path %q, development mailbox %t\n", base, box != nil)
			for _, r := range table {
				fmt.Fprintf(&golden, "%-50s %-10s cors=%-9s cache=%-7s body=%-7d errors=%-6s%s%s\n", r.path, strings.Join(methodsOf(r), ","),
					[]string{"none", "clients", "cloudbase", "any"}[r.cors], []string{"never", "public"}[r.cache], r.body,
					errorsOf(r), map[bool]string{true: " root"}[r.atRoot], map[bool]string{true: " early"}[r.early])
			}
		}
	}
	file := filepath.Join("testdata", "routes.golden")
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), golden.String()); diff != "" {
		t.Errorf("the route table changed; read the difference, then run with -update (-want +got):\n%s", diff)
	}
}

func errorsOf(r route) string {
	switch {
	case r.person:
		return "pages"
	case r.app:
		return "API"
	}
	return "JSON"
}

func methodsOf(r route) []string { return slices.Sorted(maps.Keys(r.methods)) }

// checkRows checks what has to hold for every route, whatever it is for.
func checkRows(t *testing.T, base string, table []route) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range table {
		posts := r.methods[http.MethodPost] != nil
		wellKnown := strings.Contains(r.path, "/.well-known/")
		switch {
		case seen[r.path]:
			t.Errorf("%s has two rows", r.path)
		case len(r.methods) == 0:
			t.Errorf("%s has no methods", r.path)
		case !r.app && slices.ContainsFunc(methodsOf(r), func(m string) bool { return m != http.MethodGet && m != http.MethodPost }):
			t.Errorf("%s has the methods %v", r.path, methodsOf(r))
		case !r.app && posts != (r.body > 0) || r.body > oauthcore.MaxPage || !r.person && r.body > oauthcore.MaxForm:
			t.Errorf("%s takes bodies of %d bytes", r.path, r.body)
		case r.cache == cachePublic && (posts || r.person || r.cors != corsAny):
			t.Errorf("%s may be kept, though it is not the same for everybody", r.path)
		case r.cors != corsNone && r.person:
			t.Errorf("%s is a page that others' pages may read", r.path)
		case r.cors == corsAny && posts:
			t.Errorf("%s can be posted to from everywhere", r.path)
		case r.app != strings.HasPrefix(r.path, cloudbase.Prefix) || r.app != (r.cors == corsCloudBase):
			t.Errorf("%s mixes the rules of the CloudBase API with others", r.path)
		case !strings.HasPrefix(r.path, base+"/") && !wellKnown && !r.app:
			t.Errorf("%s is outside the issuer", r.path)
		case r.atRoot && !wellKnown && !r.app:
			t.Errorf("%s is served at the root", r.path)
		case r.early && posts:
			t.Errorf("%s is posted to before the provider is ready", r.path)
		}
		seen[r.path] = true
	}
}
