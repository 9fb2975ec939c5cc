//go:build browser

package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lettergate/lettergate/provider/providertest"
)

// A real browser signs in to the app and out of it. App and issuer are two ports of
// one host, so they get each other's cookies. The test fails when any page writes an
// error to the console, a breach of a Content-Security-Policy included.
func TestWebappInABrowser(t *testing.T) {
	issuer := providertest.Serve(t)
	issuer.FixCode(t, "ann@example.com", "424242")
	front := httptest.NewUnstartedServer(nil)
	origin := "http://" + front.Listener.Addr().String()
	front.Config.Handler, _ = newApp(t, issuer, origin)
	front.Start()
	defer front.Close()

	tab := openTab(t)
	do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(tab, steps...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	text := func(selector chromedp.CSS) string {
		t.Helper()
		s, err := chromedp.Run(tab, chromedp.Text(selector, chromedp.NodeVisible))
		if err != nil {
			t.Fatalf("read %s: %v", selector, err)
		}
		return s
	}
	signIn := func() {
		t.Helper()
		do("give the address", chromedp.SendKeys(chromedp.CSS("#email"), "ann@example.com"), chromedp.Click(chromedp.CSS("#submit")))
		do("give the code", chromedp.WaitVisible(chromedp.CSS("#code")), chromedp.SendKeys(chromedp.CSS("#code"), "424242"), chromedp.Click(chromedp.CSS("#submit")))
	}
	do("open the app", chromedp.Navigate(origin), chromedp.Click(chromedp.CSS("#login")))
	signIn()
	if note := text("li"); !strings.HasPrefix(note, "a note of ") || !strings.HasSuffix(note, "<b>") {
		t.Errorf("the note is %q", note)
	}
	do("go home", chromedp.Navigate(origin), chromedp.WaitVisible(chromedp.CSS("#logout")))
	if hello := text("p"); !strings.HasPrefix(hello, "Hello ann@example.com.") {
		t.Errorf("home says %q", hello)
	}
	do("sign out", chromedp.Click(chromedp.CSS("#logout")), chromedp.WaitVisible(chromedp.CSS("#login")))
	if at, err := chromedp.Run(tab, chromedp.Location()); err != nil || at != origin+"/" {
		t.Errorf("signing out led to %s, %v", at, err)
	}
	// Nobody is signed in at the issuer either: the page behind a sign-in asks who it is.
	do("open a page", chromedp.Navigate(origin+"/notes"), chromedp.WaitVisible(chromedp.CSS("#email")))
	signIn()
	if note := text("li"); !strings.HasPrefix(note, "a note of ") {
		t.Errorf("the note is %q", note)
	}
	// A page of another site cannot sign anybody out.
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<form method="post" action="` + origin + `/auth/logout"><button id="go">go</button></form><link rel="icon" href="data:,">`))
	}))
	defer evil.Close()
	do("be lured", chromedp.Navigate(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)), chromedp.WaitVisible(chromedp.CSS("#go")))
	do("click", chromedp.Click(chromedp.CSS("#go")), chromedp.WaitVisible(chromedp.CSS("#message")))
	do("go home", chromedp.Navigate(origin), chromedp.WaitVisible(chromedp.CSS("#logout")))
}

// openTab starts Chromium with an empty profile.
func openTab(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("this test needs a browser: neither chromium, chromium-browser nor google-chrome is in PATH")
	}
	allocator, closeBrowser := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("headless", true),
		chromedp.Flag("no-sandbox", true), // it runs as root in containers
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)
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
			// That the logout is refused to another site is an error too, and meant.
			if err == nil && (m.Type == chromedp.ConsoleError || m.IsException()) && !strings.HasSuffix(m.URL, "/auth/logout") {
				t.Errorf("the console of %s: %s", m.URL, m)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		closeTab()
		reader.Wait()
	})
	return ctx
}
