package session_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
)

const (
	appURL = "https://app.example"
	secret = "a secret of the app, random enough for a test"
)

// hosts is a transport that needs no network: it calls the handler of the host, so
// that everything can happen in a bubble of testing/synctest.
type hosts map[string]http.Handler

func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	handler, ok := h[r.URL.Scheme+"://"+r.URL.Host]
	if !ok {
		return nil, fmt.Errorf("no such host: %s", r.URL.Host)
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.Host, in.RemoteAddr = r.URL.RequestURI(), r.URL.Host, "192.0.2.1:4711"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() { // as a server does, so that a client can go away
		defer close(done)
		handler.ServeHTTP(w, in)
	}()
	select {
	case <-done:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// A world is an app, its issuer, and the way between them.
type world struct {
	t      testing.TB
	issuer *issuer
	hosts  hosts
	log    *strings.Builder
}

func newWorld(t testing.TB) *world {
	i := newIssuer()
	return &world{t: t, issuer: i, hosts: hosts{issuerURL: i}, log: new(strings.Builder)}
}

// config is that of a confidential client with refresh tokens.
func (w *world) config() session.Config {
	return session.Config{
		Issuer: issuerURL, ClientID: clientID, ClientSecret: clientSecret, RedirectURL: appURL + "/auth/callback",
		Scopes: []string{"openid", "email", "offline_access"}, Secrets: []string{secret},
		Client: &http.Client{Transport: w.hosts}, Logger: slog.New(slog.NewTextHandler(io.MultiWriter(w.t.Output(), w.log), nil)),
	}
}

// app runs the app of w with its configuration changed. Another app with the same
// configuration is a replica; the one that was made last is reached by browsers.
func (w *world) app(change func(*session.Config)) *session.Sessions {
	w.t.Helper()
	cfg := w.config()
	if change != nil {
		change(&cfg)
	}
	s, err := session.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.hosts[appURL] = program(s)
	return s
}

// program is an app that says who is signed in.
func program(s *session.Sessions) http.Handler {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, ok := session.User(r.Context())
		if !ok {
			fmt.Fprint(w, "hello whoever you are")
			return
		}
		email, verified := user.Email()
		token, err := session.TokenSource(r.Context()).Token()
		fmt.Fprintf(w, "hello %s, %s %t", user.Subject(), email, verified)
		if err == nil {
			fmt.Fprintf(w, ", %s", token.AccessToken)
		}
	})
	mux := http.NewServeMux()
	mux.Handle("/auth/", s.Handler())
	mux.Handle("/public", s.Optional(hello))
	mux.Handle("/bye", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "bye") }))
	mux.Handle("/", s.Require(hello))
	return mux
}

// A browser keeps cookies, and follows redirects unless it is told to stop.
type browser struct {
	t      testing.TB
	jar    http.CookieJar
	client *http.Client
	stop   string // the prefix of URLs that it does not open but returns
}

func (w *world) browser() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	b := &browser{t: w.t, jar: jar}
	b.client = &http.Client{Jar: jar, Transport: w.hosts, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 10 || b.stop != "" && strings.HasPrefix(r.URL.String(), b.stop) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

// An answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	url    *url.URL // of the page that answered
}

func (a answer) location() string { return a.header.Get("Location") }

// do sends a request; pairs are headers.
func (b *browser) do(method, target, body string, pairs ...string) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data), resp.Request.URL}
}

// open opens a page, as a browser does when somebody clicks on a link.
func (b *browser) open(target string) answer {
	b.t.Helper()
	return b.do("GET", target, "", "Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none")
}

// post sends a form of the app's own page.
func (b *browser) post(target string, pairs ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.do("POST", target, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html",
		"Origin", appURL, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin")
}

// cookies returns the app's cookies by name.
func (b *browser) cookies() map[string]string {
	u, _ := url.Parse(appURL)
	all := make(map[string]string)
	for _, c := range b.jar.Cookies(u) {
		all[c.Name] = c.Value
	}
	return all
}

// put gives the browser a cookie of the app.
func (b *browser) put(name, value string) {
	u, _ := url.Parse(appURL)
	b.jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

// sessionCookie returns the name and the value of the first cookie of the session.
func (b *browser) sessionCookie() (name, value string) {
	for name, value := range b.cookies() {
		if strings.HasSuffix(name, "-app") {
			return name, value
		}
	}
	return "", ""
}

// signIn signs in by opening a page.
func (b *browser) signIn() answer {
	b.t.Helper()
	a := b.open(appURL + "/")
	if a.status != http.StatusOK || !strings.HasPrefix(a.body, "hello user-") {
		b.t.Fatalf("sign-in: %d %s %s", a.status, a.url, a.body)
	}
	return a
}

// begin opens a page and returns the URL of the callback that the issuer sent the
// browser to, which is not opened.
func (b *browser) begin(target string) string {
	b.t.Helper()
	b.stop = appURL + "/auth/callback"
	defer func() { b.stop = "" }()
	a := b.open(target)
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.location(), b.stop) {
		b.t.Fatalf("got %d to %q: %s", a.status, a.location(), a.body)
	}
	return a.location()
}

// greeted fails the test unless the answer greets the person.
func (a answer) greeted(t *testing.T, person string) {
	t.Helper()
	if a.status != http.StatusOK || !strings.HasPrefix(a.body, "hello "+person) {
		t.Errorf("got %d %s, want hello %s", a.status, a.body, person)
	}
}

// refused fails the test unless the answer is a page with this status that shows a
// sentence, and gives the browser no session.
func (a answer) refused(t *testing.T, status int, sentence string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, sentence) {
		t.Errorf("got %d %s, want %d with %q", a.status, a.body, status, sentence)
	}
	for _, c := range a.header.Values("Set-Cookie") {
		if strings.Contains(c, "-app=") && !strings.Contains(c, "Max-Age=0") {
			t.Errorf("a session was given: %.60s", c)
		}
	}
}

// isSignedIn opens a page that is for everybody.
func (b *browser) isSignedIn() bool {
	b.t.Helper()
	return strings.HasPrefix(b.open(appURL+"/public").body, "hello user-")
}

// with changes parameters of a URL; an empty value leaves one out.
func with(t *testing.T, raw string, pairs ...string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		if q.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			q.Del(pairs[i])
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// A clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }
