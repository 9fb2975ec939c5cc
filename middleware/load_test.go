package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// What is too large is refused before it costs anything.
func TestRS14_LargeRequests(t *testing.T) {
	_, route, handler := newRoute(t)
	for name, authorization := range map[string]string{
		"dots":                  "Bearer " + strings.Repeat(".", 1<<20),
		"letters":               "Bearer " + strings.Repeat("a", 1<<20),
		"a little too long":     "Bearer " + strings.Repeat("a", 16<<10+1),
		"three parts":           "Bearer " + strings.Repeat("a", 1<<20) + ".b.c",
		"spaces":                "Bearer" + strings.Repeat(" ", 1<<20) + "a",
		"padding":               "Bearer a" + strings.Repeat("=", 1<<20),
		"scheme":                strings.Repeat("B", 1<<20),
		"many bytes, no scheme": strings.Repeat("x ", 1<<19),
	} {
		r := get(authorization)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		wantStatus(t, route, handler, r, 401)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", name, got)
		}
	}
	server := httptest.NewServer(route)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("a", 10<<20))
	resp, err := http.DefaultClient.Do(r)
	if err == nil { // the server may hang up before the client has sent it all
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if handler.ran.Load() != 0 {
		t.Error("the handler ran")
	}
}

// The guard can be replaced while requests are in it: each is judged by one or the
// other, and never by neither.
func TestRS30_Reload(t *testing.T) {
	i := newIssuer()
	defer i.close()
	handler := new(counter)
	var current atomic.Pointer[http.Handler]
	load := func() {
		keys, err := oauth.NewStaticKeys(i.keys)
		if err != nil {
			t.Fatal(err)
		}
		v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: i.url, Audiences: []string{api}}, keys)
		if err != nil {
			t.Fatal(err)
		}
		h := guardFor(t, v, middleware.Config{}).Require("notes:read")(handler)
		current.Store(&h)
	}
	load()
	stranger := newIssuer()
	defer stranger.close()
	good, few, forged := "Bearer "+i.token("notes:read", nil), "Bearer "+i.token("", nil), "Bearer "+stranger.token("notes:read", nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				authorization, status := good, 200
				switch n % 4 {
				case 0:
					authorization, status = few, 403
				case 1:
					authorization, status = forged, 401
				}
				w := httptest.NewRecorder()
				(*current.Load()).ServeHTTP(w, get(authorization))
				if w.Code != status || status == 200 && !strings.HasPrefix(w.Body.String(), "hello user-1 ") {
					t.Errorf("%d %s, want %d", w.Code, w.Body, status)
				}
			}
		})
	}
	for range 10 {
		load()
		before := handler.ran.Load()
		for handler.ran.Load() < before+20 && !t.Failed() {
			runtime.Gosched()
		}
	}
	close(done)
	wg.Wait()
}
