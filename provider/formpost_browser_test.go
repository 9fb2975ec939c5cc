//go:build browser

package provider_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lettergate/lettergate/config"
)

// openTab starts Chromium with an empty profile. The test fails when a page writes an
// error to the console, a breach of a Content-Security-Policy included.
func openTab(t *testing.T, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("this test needs Chromium or Google Chrome in PATH")
	}
	flags = append(flags, chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("headless", true),
		chromedp.Flag("no-sandbox", true), // it runs as root in containers
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true))
	allocator, closeBrowser := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(closeBrowser)
	tab, closeTab := chromedp.NewContext(allocator, chromedp.WithErrorf(t.Logf))
	// The browser lives as long as the context of the first step.
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1000, 800)); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	ctx, cancel := context.WithTimeout(tab, 90*time.Second)
	var reader sync.WaitGroup
	messages := chromedp.Console(tab)
	reader.Go(func() {
		for m, err := range messages {
			if err == nil && (m.Type == chromedp.ConsoleError || m.IsException()) {
				t.Errorf("the console of %s: %s", m.URL, m)
			}
		}
	})
	t.Cleanup(func() { cancel(); closeTab(); reader.Wait() })
	return ctx
}

// A relying is a client's own server. It keeps what it is told and leads on to a page
// of another origin, as clients with a front end of their own do.
type relying struct {
	redirectURI string
	told        chan url.Values
}

func startRelying(t *testing.T) relying {
	t.Helper()
	r := relying{told: make(chan url.Values, 10)}
	var onward string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		switch {
		case in.URL.Path == "/cb" && in.Method == http.MethodGet:
			r.told <- in.URL.Query()
			http.Redirect(w, in, onward, http.StatusSeeOther)
		case in.URL.Path == "/cb":
			if err := in.ParseForm(); err != nil || in.URL.RawQuery != "" {
				t.Errorf("posted: %v, query %q", err, in.URL.RawQuery)
			}
			if in.Referer() != "" {
				t.Errorf("Referer %q", in.Referer())
			}
			r.told <- in.PostForm
			http.Redirect(w, in, onward, http.StatusSeeOther)
		case in.URL.Path == "/done":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<!doctype html><link rel="icon" href="data:,"><p id="done">done</p>`)
		default:
			http.NotFound(w, in)
		}
	}))
	t.Cleanup(server.Close)
	r.redirectURI = server.URL + "/cb"
	onward = strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/done"
	return r
}

// AS-33: the form is sent by the browser itself, or by the button where scripts are off;
// nothing of the policy is in its way, nor in that of the redirect which follows.
func TestAS33_FormPostInABrowser(t *testing.T) {
	const state = `"><script>document.title="evil"</script> &+é`
	for name, scripts := range map[string]bool{"with scripts": true, "without scripts": false} {
		t.Run(name, func(t *testing.T) {
			client := startRelying(t)
			s := start(t, options{config: func(c *config.Config) { c.Clients[1].RedirectURIs = []string{"http://127.0.0.1/cb"} }})
			tab := openTab(t, chromedp.Flag("blink-settings", fmt.Sprintf("scriptEnabled=%t", scripts)))
			do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
				t.Helper()
				if err := chromedp.Do(tab, steps...); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			arrives := func(what string) url.Values {
				t.Helper()
				if !scripts {
					button := chromedp.CSS(fmt.Sprintf("form[action=%q] #submit", client.redirectURI))
					do(what+": press the button", chromedp.WaitVisible(button), chromedp.Click(button))
				}
				do(what+": wait for the client", chromedp.WaitVisible(chromedp.CSS("#done")))
				return <-client.told
			}
			path := formPost(webID, "redirect_uri", client.redirectURI, "state", state)
			do("open an error", chromedp.Navigate(s.url(path+"&prompt=none")))
			if form := arrives("an error"); form.Get("error") != "login_required" || form.Get("state") != state {
				t.Errorf("the client is told %v", form)
			}
			do("sign in", chromedp.Navigate(s.url(path)), chromedp.SendKeys(chromedp.CSS("#email"), "ann@example.com"), chromedp.Click(chromedp.CSS("#submit")))
			do("give the code", chromedp.WaitVisible(chromedp.CSS("#code")), chromedp.SendKeys(chromedp.CSS("#code"), s.code("ann@example.com")), chromedp.Click(chromedp.CSS("#submit")))
			form := arrives("a code")
			if form.Get("state") != state || form.Get("iss") != s.provider.Issuer() {
				t.Errorf("the client is told %v", form)
			}
			// By redirect, the client's page comes after a POST of ours, too.
			path = authorizePath(thirdID, "redirect_uri", client.redirectURI)
			do("ask again", chromedp.Navigate(s.url(path)), chromedp.WaitVisible(chromedp.CSS("#allow")), chromedp.Click(chromedp.CSS("#allow")),
				chromedp.WaitVisible(chromedp.CSS("#done")))
			if told := <-client.told; told.Get("code") == "" {
				t.Errorf("by redirect the client is told %v", told)
			}
			exchange := append(without("redirect_uri", exchangeForm(form.Get("code"))), "redirect_uri", client.redirectURI)
			if got := s.post("/oauth2/token", exchange...); got.status != http.StatusOK {
				t.Errorf("the code: %d %s", got.status, got.body)
			}
		})
	}
}
