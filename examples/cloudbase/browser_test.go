//go:build browser

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A tab is one of a real browser, with the SDK that the page loads. Tabs of one
// origin share what the SDK stores.
type tab struct {
	*sdk
	ctx context.Context // for 90 s
}

// startBrowser starts Chromium with an empty profile. Its context is where tabs are
// opened.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	allocator, closeBrowser := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(chromium(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("headless", true),
		chromedp.Flag("no-sandbox", true), // it runs as root in containers
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-background-timer-throttling", true), // several tabs work at once
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)
	t.Cleanup(closeBrowser)
	browser, closeTab := chromedp.NewContext(allocator, chromedp.WithErrorf(t.Logf))
	t.Cleanup(closeTab)
	// The browser lives as long as the context of the first step.
	if err := chromedp.Do(browser, chromedp.EmulateViewport(1000, 1200)); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return browser
}

// chromium finds the browser.
func chromium(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("this test needs a browser: none of %s is in PATH", strings.Join(names, ", "))
	return ""
}

// open opens a page in a new tab. The test fails when the page throws what nobody
// catches, or breaches its Content-Security-Policy.
func open(t *testing.T, browser context.Context, p *program, url string) *tab {
	t.Helper()
	target, closeTab := chromedp.NewContext(browser)
	ctx, cancel := context.WithTimeout(target, 90*time.Second)
	var reader sync.WaitGroup
	messages := chromedp.Console(target)
	reader.Go(func() {
		for m, err := range messages {
			if err == nil && (m.IsException() || strings.Contains(m.String(), "Content Security Policy")) {
				t.Errorf("the console of %s: %s", m.URL, m)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			screenshot(t, target)
		}
		closeTab()
		reader.Wait()
	})
	b := &tab{&sdk{t: t, p: p}, ctx}
	b.run = func(expression string) (string, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	}
	b.act("open the page", chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("html[data-ready]")))
	return b
}

// act runs steps one after the other; what names them in the failure.
func (b *tab) act(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// fill puts values into fields, and presses the button; fields are ids and values.
func (b *tab) fill(button string, fields ...string) {
	b.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		field := chromedp.CSS("#" + fields[i])
		b.act("fill in "+fields[i], chromedp.SetValue(field, fields[i+1]))
	}
	b.act("press "+button, chromedp.Click(chromedp.CSS("#"+button)))
}

// enter types the code that was mailed to an address.
func (b *tab) enter(email string) {
	b.t.Helper()
	b.act("wait for the field of the code", chromedp.Poll[chromedp.Void](`document.querySelector("#code-form").hidden === false && document.querySelector("#code-for").textContent === "`+email+`"`))
	b.fill("send-code", "code", b.p.code(email))
}

// shows waits for a text in the element with an id.
func (b *tab) shows(id, want string) {
	b.t.Helper()
	b.act("wait for "+want, chromedp.Poll[chromedp.Void](`document.getElementById("`+id+`").textContent.includes("`+want+`")`))
}

// screenshot keeps what a tab shows.
func screenshot(t *testing.T, tab context.Context) {
	ctx, cancel := context.WithTimeout(tab, 10*time.Second)
	defer cancel()
	image, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Logf("no screenshot: %v", err)
		return
	}
	// Not in the directory of the test, which is removed with it.
	dir, err := os.MkdirTemp("", "cloudbase-browser")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "failure.png"), image, 0o600)
	}
	t.Logf("what the browser showed: %s (%v)", filepath.Join(dir, "failure.png"), err)
}
