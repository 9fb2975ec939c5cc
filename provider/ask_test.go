package provider_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
	"github.com/lettergate/lettergate/provider/users"
)

const formType = "application/x-www-form-urlencoded"

// request makes a request for a path of the issuer; headers are names and values.
func (s *server) request(method, path, body string, headers ...string) *http.Request {
	s.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, s.url(path), content)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", formType)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	return req
}

// send sends a request without cookies and follows no redirect.
func (s *server) send(req *http.Request) answer {
	s.t.Helper()
	client := s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	return read(s.t, resp, err)
}

// get asks for a path without cookies and follows no redirect.
func (s *server) get(path string) answer {
	s.t.Helper()
	return s.send(s.request("GET", path, ""))
}

// send sends a request with the browser's cookies and follows no redirect.
func (b *browser) send(req *http.Request) answer {
	b.s.t.Helper()
	client := *b.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	return read(b.s.t, resp, err)
}

// cookies are the browser's cookies of the issuer by name.
func (b *browser) cookies() map[string]string {
	b.s.t.Helper()
	u, err := url.Parse(b.s.provider.Issuer())
	if err != nil {
		b.s.t.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range b.client.Jar.Cookies(u) {
		all[c.Name] = c.Value
	}
	return all
}

// isPage fails the test unless the answer is an error page that leads nowhere.
func (a answer) isPage(t *testing.T, status int) {
	t.Helper()
	if a.status != status || a.header.Get("Location") != "" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Fatalf("got %d to %q (%s), want a page with %d\n%.300s", a.status, a.header.Get("Location"), a.header.Get("Content-Type"), status, a.body)
	}
}

// redirectsError fails the test unless the client is told the error.
func (a answer) redirectsError(t *testing.T, code string) url.Values {
	t.Helper()
	q := a.arrives(t, callback)
	if q.Get("error") != code || q.Has("code") {
		t.Fatalf("the client is told %v, want the error %s", q, code)
	}
	return q
}

// claimsOf decodes the payload of a JWT without looking at its signature.
func claimsOf(t *testing.T, token any) map[string]any {
	t.Helper()
	s, _ := token.(string)
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is not a JWT", s)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// introspect asks about a token as the confidential client.
func (s *server) introspect(token string) answer {
	s.t.Helper()
	return s.postAs(secretID, backendSecret, "/oauth2/introspect", "token", token)
}

// backendTokens signs a person in through the code flow of the confidential client.
func (s *server) backendTokens(b *browser, address string, pairs ...string) map[string]any {
	s.t.Helper()
	path := authorizePath(secretID, pairs...)
	a := b.get(path)
	if a.status == http.StatusOK {
		a = b.signIn(path, address)
	}
	got := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "authorization_code",
		"code", a.arrives(s.t, callback).Get("code"), "redirect_uri", callback, "code_verifier", verifier)
	if got.status != http.StatusOK {
		s.t.Fatalf("code exchange: %d %s", got.status, got.body)
	}
	return got.json(s.t)
}

// A clock stands still unless the test moves it.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Now().Truncate(time.Second).UnixNano())
	return c
}

func (c *clock) now() time.Time { return time.Unix(0, c.nanos.Load()) }

func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// counted starts a server, without a listener, that counts what its requests ask
// of the store.
func counted(t *testing.T, opts options) (*server, *storetest.Counter) {
	t.Helper()
	var count *storetest.Counter
	opts.direct = true
	opts.store = func(db storage.Store) storage.Store {
		count = storetest.Count(db)
		return requestsOnly{db, count}
	}
	return start(t, opts), count
}

// writes counts the calls that can change something.
func writes(c *storetest.Counter) int { return c.Calls("Put", "Delete", "Add") }

// directory is the provider's accounts.
func (s *server) directory() users.Directory {
	s.t.Helper()
	d, err := users.NewDirectory(users.Config{Store: storage.Scope(s.store, s.provider.Issuer())})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// account returns the account of an address.
func (s *server) account(address string) users.User {
	s.t.Helper()
	u, err := s.directory().ByEmail(s.t.Context(), address)
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

// change changes the account of an address.
func (s *server) change(address string, how func(*users.User)) {
	s.t.Helper()
	u := s.account(address)
	how(&u)
	if _, err := s.directory().Update(s.t.Context(), u); err != nil {
		s.t.Fatal(err)
	}
}

// without returns the pairs of a form without one of them.
func without(name string, pairs []string) []string {
	var kept []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != name {
			kept = append(kept, pairs[i], pairs[i+1])
		}
	}
	return kept
}

// regexpCode finds the code in a mail.
var regexpCode = regexp.MustCompile(`(?m)^\s*([0-9]{6,10})\s*$`)

// sharing makes a server keep its state in a store that another one has already.
func sharing(store storage.Store) func(storage.Store) storage.Store {
	return func(storage.Store) storage.Store { return store }
}
