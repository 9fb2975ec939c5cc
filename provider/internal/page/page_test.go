package page_test

import (
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/internal/page"
)

var update = flag.Bool("update", false, "write the golden files anew")

// hash is a stylesheet or script as a CSP source.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func newRenderer(t testing.TB) *page.Renderer {
	t.Helper()
	catalogue, err := messages.New()
	if err != nil {
		t.Fatal(err)
	}
	r, err := page.New(page.Config{Name: "Lettergate", Catalogue: catalogue})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// input is what strangers have a say in.
type input struct {
	client, email, scope, hidden, arg string
}

var calm = input{
	client: "Demo notes",
	email:  "ada@example.com",
	scope:  "notes:read",
	hidden: "b3BhcXVl",
	arg:    "25",
}

// variants returns every page in every shape it has, filled with in.
func variants(in input) map[string]page.Page {
	client := &page.Client{Name: in.client}
	hidden := []page.Field{{Name: "request", Value: in.hidden}, {Name: "csrf", Value: "dG9rZW4"}}
	targets := []string{"https://app.example/callback"}
	args := map[string]string{"seconds": in.arg}

	signin := page.SignIn{Client: client, FormTargets: targets, Action: "/login/email", Hidden: hidden, Email: in.email}
	signinDirect, signinProblem := signin, signin
	signinDirect.Client, signinDirect.FormTargets = nil, nil
	signinProblem.Error = page.WrongEmail
	signinPassword := signin
	signinPassword.PasswordAction = "/login/password"

	code := page.Code{
		Client: client, FormTargets: targets, Action: "/login/code", Hidden: hidden, Email: in.email,
		Lifetime: 10 * time.Minute, ResendAction: "/login/code/resend", ChangeURL: "/login/email?request=" + in.hidden,
	}
	codeProblem, codeLast := code, code
	codeProblem.Error, codeProblem.ErrorArgs = page.WaitToSend, args
	codeLast.ResendAction = ""

	consent := page.Consent{
		Client: client, Action: "/consent", Hidden: hidden, Email: in.email, RedirectURI: "https://app.example/callback",
		Scopes: []string{"openid", "email", "profile", "offline_access", "x" + in.scope},
	}
	consentApp := consent
	consentApp.RedirectURI = "com.example.app:/callback"

	return map[string]page.Page{
		"signin":             signin,
		"signin-direct":      signinDirect,
		"signin-problem":     signinProblem,
		"signin-password":    signinPassword,
		"password":           page.Password{Client: client, FormTargets: targets, Action: "/login/password", CodeAction: "/login/email", Hidden: hidden, Email: in.email},
		"password-problem":   page.Password{Client: client, FormTargets: targets, Action: "/login/password", CodeAction: "/login/email", Hidden: hidden, Error: page.WrongPassword},
		"code":               code,
		"code-problem":       codeProblem,
		"code-last":          codeLast,
		"consent":            consent,
		"formpost":           page.FormPost{Client: client, Action: "https://app.example/callback?tenant=a%2Fb&x='()", Hidden: hidden},
		"consent-app":        consentApp,
		"signedin":           page.SignedIn{Action: "/logout", Hidden: hidden, Email: in.email},
		"link":               page.Link{Client: client, FormTargets: targets, Action: "/login/link", Hidden: hidden, Email: in.email},
		"logout":             page.Logout{Client: client, FormTargets: targets, Action: "/logout", Hidden: hidden},
		"logout-direct":      page.Logout{Action: "/logout", Hidden: hidden},
		"loggedout":          page.LoggedOut{},
		"loggedout-continue": page.LoggedOut{ContinueURL: "com.example.app:/bye?state=x&y"},
		"loggedout-client":   page.LoggedOut{Client: client, ContinueURL: "https://app.example/bye?state=x&y"},
		"error":              page.Error{Client: client, Problem: page.WrongRequest, Code: "x" + in.scope, RequestID: "x" + in.hidden},
		"error-bare":         page.Error{Problem: page.Internal},
	}
}

func TestGolden(t *testing.T) {
	r := newRenderer(t)
	for name, p := range variants(calm) {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := r.Render(w, 200, p); err != nil {
				t.Fatal(err)
			}
			if n := w.Body.Len(); n > 10<<10 {
				t.Errorf("the page has %d bytes; at most 10 KiB are fair", n)
			}
			file := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(file, w.Body.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), w.Body.String()); diff != "" {
				t.Errorf("-want +got (accept with -update):\n%s", diff)
			}
		})
	}
}

func render(t testing.TB, r *page.Renderer, status int, p page.Page) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := r.Render(w, status, p); err != nil {
		t.Fatal(err)
	}
	return w
}

// AS-18, AS-20, EC-39: each page, in each shape, has every header.
func TestHeaders(t *testing.T) {
	r := newRenderer(t)
	for name, p := range variants(calm) {
		t.Run(name, func(t *testing.T) {
			w := render(t, r, http.StatusTeapot, p)
			if w.Code != http.StatusTeapot {
				t.Errorf("status %d", w.Code)
			}
			doc := parse(t, w.Body.String())
			style := text(find(doc, "style")[0])
			scripts, forms := "", "form-action 'self'"
			switch {
			case name == "consent-app":
				forms += " com.example.app:"
			case name == "formpost":
				scripts = "script-src " + hash(text(find(doc, "script")[0])) + "; "
				forms = "form-action https: https://app.example"
			case name == "signin-direct", name == "logout-direct", name == "signedin", strings.HasPrefix(name, "loggedout"), strings.HasPrefix(name, "error"):
			default:
				forms += " https: https://app.example"
			}
			want := map[string]string{
				"Cache-Control":           "no-store",
				"Content-Language":        "en",
				"Content-Security-Policy": "default-src 'none'; style-src " + hash(style) + "; img-src 'self' data:; " + scripts + forms + "; base-uri 'none'; frame-ancestors 'none'",
				"Content-Type":            "text/html; charset=utf-8",
				"Permissions-Policy":      "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
				"Referrer-Policy":         "no-referrer",
				"X-Content-Type-Options":  "nosniff",
				"X-Frame-Options":         "DENY",
			}
			for k, v := range want {
				if got := w.Header().Values(k); len(got) != 1 || got[0] != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
		})
	}
}

func TestFormTargets(t *testing.T) {
	r := newRenderer(t)
	for uri, want := range map[string]string{
		"https://app.example/cb?x=1#f":       "https: https://app.example",
		"https://App.Example:8443":           "https: https://app.example:8443",
		"https://user:pw@app.example/cb":     "https: https://app.example",
		"http://127.0.0.1:49152/cb":          "http: http://127.0.0.1:49152 https:",
		"http://localhost:3000/cb":           "http: http://localhost:3000 https:",
		"http://[::1]:49152/cb":              "http: http://*:49152 https:", // CSP cannot name an IPv6 address
		"http://[::1]/cb":                    "http: http://* https:",
		"https://bücher.example:8443/cb":     "https: https://xn--bcher-kva.example:8443",
		"com.example.app:/cb":                "com.example.app:",
		"com.example.app:":                   "com.example.app:",
		"com.example.app://cb;script-src *":  "", // not a URI: the space is in its host
		"https://app.example/;script-src%20": "https: https://app.example",
		"https://app.example; script-src *":  "",
		"https://app.example;script-src":     "",
		"https://'unsafe-inline'/":           "",
		"https://*/":                         "",
		"https://*.example/":                 "",
		"https://a,b/":                       "",
		"https://a.example\r\nX-Evil: 1/":    "",
		"https://":                           "",
		"https://:443/":                      "",
		"*":                                  "",
		"/cb":                                "",
		"":                                   "",
		"javascript:alert(1)":                "",
		"JavaScript:alert(1)":                "",
		"data:text/html,x":                   "",
		"blob:https://app.example/x":         "",
	} {
		w := httptest.NewRecorder()
		err := r.Render(w, 200, page.SignIn{FormTargets: []string{uri, uri}})
		if want == "" {
			if err == nil {
				t.Errorf("%q was accepted: %s", uri, w.Header().Get("Content-Security-Policy"))
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", uri, err)
			continue
		}
		if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "; form-action 'self' "+want+"; ") {
			t.Errorf("%q: %s", uri, got)
		}
	}
}

// The form of an answer leads to the client and never back to us.
func TestFormPostTarget(t *testing.T) {
	r := newRenderer(t)
	for uri, want := range map[string]string{
		"https://app.example:8443/x": "form-action https: https://app.example:8443",
		"http://127.0.0.1:49152/cb":  "form-action http: http://127.0.0.1:49152 https:",
	} {
		w := render(t, r, 200, page.FormPost{Client: &page.Client{Name: "x"}, Action: uri})
		if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "; "+want+"; base-uri 'none'; ") || strings.Count(got, "form-action") != 1 {
			t.Errorf("%q: %s", uri, got)
		}
	}
}

// AS-67: when a page fails, nothing of it was written and the caller can still
// answer.
func TestFailureWritesNothing(t *testing.T) {
	r := newRenderer(t)
	for name, p := range map[string]page.Page{
		"unknown problem of a form": page.SignIn{Error: "page.problem.unheard"},
		"unknown problem of a flow": page.Error{Problem: "page.error.unheard"},
		"form target":               page.Code{FormTargets: []string{"javascript:alert(1)"}},
		"continue URL":              page.LoggedOut{ContinueURL: "javascript:alert(1)"},
		"consent for nobody":        page.Consent{RedirectURI: "https://app.example/"},
		"consent to nowhere":        page.Consent{Client: &page.Client{Name: "x"}},
		"form for nobody":           page.FormPost{Action: "https://app.example/"},
		"form to nowhere":           page.FormPost{Client: &page.Client{Name: "x"}},
		"form that runs":            page.FormPost{Client: &page.Client{Name: "x"}, Action: "javascript:alert(1)"},
		"form to an app":            page.FormPost{Client: &page.Client{Name: "x"}, Action: "com.example.app:/callback"},
	} {
		w := httptest.NewRecorder()
		if err := r.Render(w, 200, p); err == nil {
			t.Errorf("%s: no error", name)
		}
		if len(w.Header()) > 0 || w.Body.Len() > 0 {
			t.Errorf("%s: wrote %v and %q", name, w.Header(), w.Body)
		}
	}
}

func TestSeeOther(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, url := range []string{"https://app.example/cb?code=x&state=y#", "com.example.app:/cb?code=x", "/login/code"} {
			w := httptest.NewRecorder()
			page.SeeOther(w, httptest.NewRequest(method, "/consent", nil), url)
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != url {
				t.Errorf("%s: %d to %q, want 303 to %q", method, w.Code, w.Header().Get("Location"), url)
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: headers %v", method, w.Header())
			}
			if w.Body.Len() > 0 {
				t.Errorf("%s: body %q", method, w.Body)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	catalogue, err := messages.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []page.Config{{}, {Name: "Lettergate"}, {Catalogue: catalogue}, {Name: "\u202e", Catalogue: catalogue}} {
		if _, err := page.New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// A language that is written from right to left turns the page around.
func TestLanguage(t *testing.T) {
	en, err := os.ReadFile("../messages/en.json")
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := messages.Load(fstest.MapFS{"en.json": {Data: en}, "ar.json": {Data: en}, "de.json": {Data: en}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := page.New(page.Config{Name: "Lettergate", Catalogue: catalogue})
	if err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[string]string{
		"de": "de ltr", "ar": "ar rtl", "": "en ltr", "tlh": "en ltr",
		"en\" onload=\"alert(1)": "en ltr", "en\r\nX-Evil: 1": "en ltr",
	} {
		w := render(t, r, 200, page.LoggedOut{Lang: lang})
		html := find(parse(t, w.Body.String()), "html")[0]
		if got := attr(html, "lang") + " " + attr(html, "dir"); got != want {
			t.Errorf("%q: %s, want %s", lang, got, want)
		}
		if got, want := w.Header().Get("Content-Language"), attr(html, "lang"); got != want {
			t.Errorf("%q: Content-Language %q, want %q", lang, got, want)
		}
	}
}
