package provider

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/internal/cloudbase"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/ratelimit"
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
			for _, fault := range rowFaults(base, table) {
				t.Error(fault)
			}
			if (base == "") == (box != nil) {
				continue // two of the four say it all
			}
			fmt.Fprintf(&golden, "# issuer path %q, development mailbox %t\n", base, box != nil)
			for _, r := range table {
				line := fmt.Sprintf("%-50s %-16s limit=%-9s cors=%-9s cache=%-6s body=%-6d errors=%-5s %s %s", r.path, strings.Join(methodsOf(r), ","),
					r.limit, []string{"?", "none", "clients", "cloudbase", "any"}[r.cors], []string{"?", "never", "public"}[r.cache], r.body,
					errorsOf(r), map[bool]string{true: "root"}[r.atRoot], map[bool]string{true: "early"}[r.early])
				fmt.Fprintln(&golden, strings.TrimRight(line, " "))
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

// rowFaults is what is wrong with the rows, whatever they are for.
func rowFaults(base string, table []route) (faults []string) {
	seen := map[string]bool{}
	for _, r := range table {
		posts := r.methods[http.MethodPost] != nil
		wellKnown := strings.Contains(r.path, "/.well-known/")
		for fault, is := range map[string]bool{
			"has two rows":               seen[r.path],
			"has no methods":             len(r.methods) == 0,
			"has no rate-limit class":    r.limit == 0,
			"has no CORS rule":           r.cors == 0,
			"has no cache rule":          r.cache == 0,
			"has a method without need":  !r.app && slices.ContainsFunc(methodsOf(r), func(m string) bool { return m != http.MethodGet && m != http.MethodPost }),
			"has no body limit":          posts && r.body == 0,
			"takes bodies without need":  !r.app && !posts && r.body > 0,
			"takes bodies too large":     r.body > oauthcore.MaxPage || !r.person && r.body > oauthcore.MaxForm,
			"may be kept by mistake":     r.cache == cachePublic && (posts || r.person || r.cors != corsAny),
			"is a page others can read":  r.person && r.cors > corsNone,
			"is posted to from anywhere": posts && r.cors == corsAny,
			"guesses and is public":      r.limit > ratelimit.Clients && r.cache == cachePublic,
			"mixes up with the API":      r.app != strings.HasPrefix(r.path, cloudbase.Prefix) || r.app != (r.cors == corsCloudBase),
			"is outside the issuer":      !strings.HasPrefix(r.path, base+"/") && !wellKnown && !r.app,
			"is at the root by mistake":  r.atRoot && !wellKnown && !r.app,
			"is posted to too early":     r.early && posts,
		} {
			if is {
				faults = append(faults, r.path+" "+fault)
			}
		}
		seen[r.path] = true
	}
	slices.Sort(faults)
	return faults
}

// A row that says nothing is found to lack each thing, so that none is left to chance.
func TestRouteTable_GapsAreFound(t *testing.T) {
	nothing := func(http.ResponseWriter, *http.Request) {}
	whole := pageRow("/new", ratelimit.Held, oauthcore.MaxPage, on{http.MethodPost: nothing})
	if faults := rowFaults("", []route{whole}); len(faults) > 0 {
		t.Fatalf("a row with everything: %v", faults)
	}
	for want, spoil := range map[string]func(*route){
		"/new has no methods":             func(r *route) { r.methods, r.body = nil, 0 },
		"/new has no rate-limit class":    func(r *route) { r.limit = 0 },
		"/new has no CORS rule":           func(r *route) { r.cors = 0 },
		"/new has no cache rule":          func(r *route) { r.cache = 0 },
		"/new has no body limit":          func(r *route) { r.body = 0 },
		"/new takes bodies too large":     func(r *route) { r.body = oauthcore.MaxPage + 1 },
		"/new is a page others can read":  func(r *route) { r.cors = corsClients },
		"/new is at the root by mistake":  func(r *route) { r.atRoot = true },
		"/new has a method without need":  func(r *route) { r.methods = on{http.MethodPost: nothing, http.MethodPut: nothing} },
		"/new is posted to too early":     func(r *route) { r.early = true },
		"/new may be kept by mistake":     func(r *route) { r.cache = cachePublic },
		"/auth/new mixes up with the API": func(r *route) { r.path = "/auth/new" },
	} {
		row := whole
		spoil(&row)
		if faults := rowFaults("", []route{row}); len(faults) != 1 || faults[0] != want {
			t.Errorf("want %q, got %q", want, faults)
		}
	}
}

// What nobody has declared is as strict as can be.
func TestRouteTable_GapsAreStrict(t *testing.T) {
	clients, err := oauthcore.NewClients(oauthcore.ClientsConfig{Issuer: "https://id.example"}, []config.Client{{ID: "web", Origins: []string{"https://app.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	g := &routeGuard{clients: clients, ready: func() bool { return true }}
	row := route{path: "/new", methods: on{http.MethodPost: func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n > 0 || err == nil {
			t.Errorf("%d bytes of a body were read: %v", n, err)
		}
	}}}
	for _, method := range []string{http.MethodPost, http.MethodOptions} {
		r := httptest.NewRequest(method, "/new", strings.NewReader("x"))
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Access-Control-Request-Method", http.MethodPost)
		if method == http.MethodOptions {
			row.methods = on{http.MethodOptions: func(http.ResponseWriter, *http.Request) {}}
		}
		w := httptest.NewRecorder()
		g.handler(row).ServeHTTP(w, r)
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", method, w.Header())
		}
	}
}
