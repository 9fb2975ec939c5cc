//go:build browser

package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A browser is one tab of a real one. The test fails when any page it opens writes
// an error to the console, a breach of a Content-Security-Policy included.
type browser struct {
	t   *testing.T
	ctx context.Context // the tab, for 90 s
}

// openBrowser starts Chromium with an empty profile.
func openBrowser(t *testing.T) *browser {
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
			if err == nil && (m.Type == chromedp.ConsoleError || m.IsException()) {
				t.Errorf("the console of %s: %s", m.URL, m)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			screenshot(t, tab)
		}
		closeTab()
		reader.Wait()
	})
	return &browser{t, ctx}
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

// do runs steps one after the other; what names them in the failure.
func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// value runs a step that finds something out.
func value[T any](b *browser, what string, step chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, step)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return v
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
	dir, err := os.MkdirTemp("", "quickstart-browser")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "failure.png"), image, 0o600)
	}
	t.Logf("what the browser showed: %s (%v)", filepath.Join(dir, "failure.png"), err)
}

// text waits until an element is visible and returns its text.
func (b *browser) text(selector chromedp.CSS) string {
	b.t.Helper()
	return strings.TrimSpace(value(b, "read "+string(selector), chromedp.Text(selector, chromedp.NodeVisible)))
}

// signIn signs in from the app's first page, with the n-th code mailed to the
// address.
func (b *browser) signIn(q *quickstart, email string, n int) {
	b.t.Helper()
	b.do("ask to sign in", chromedp.Click(chromedp.CSS("#sign-in")))
	b.do("give the address", chromedp.SendKeys(chromedp.CSS("#email"), email), chromedp.Click(chromedp.CSS("#submit")))
	b.do("wait for the page for the code", chromedp.WaitVisible(chromedp.CSS("#code")))
	b.do("give the code", chromedp.SendKeys(chromedp.CSS("#code"), q.code(email, n)), chromedp.Click(chromedp.CSS("#submit")))
	if who := b.text("#who"); who != email {
		b.t.Fatalf("signed in as %q, want %q", who, email)
	}
}

func TestBrowser(t *testing.T) {
	const email = "ann@example.com"
	q := start(t)
	b := openBrowser(t)
	b.do("open the app", chromedp.Navigate(q.app), chromedp.WaitVisible(chromedp.CSS("#signed-out")))
	b.signIn(q, email, 1)
	b.at(q.app + "/") // the code is not in the address any more
	if note := b.text("#notes li"); !strings.HasPrefix(note, "Welcome!") {
		t.Errorf("the first note is %q", note)
	}

	const note = "<img src=x onerror=alert(1)> milk"
	b.do("add a note",
		chromedp.SendKeys(chromedp.CSS("#note-text"), note),
		chromedp.Click(chromedp.CSS("#note-add")),
		poll(`document.querySelector("#notes li:last-child").textContent.endsWith("milk")`))
	if got := b.text("#notes li:last-child"); got != note {
		t.Errorf("the note is %q, want %q", got, note)
	}

	b.do("reload", chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#notes li")))
	if who, last := b.text("#who"), b.text("#notes li:last-child"); who != email || last != note {
		t.Errorf("after a reload: %q with the note %q", who, last)
	}

	token := value(b, "read the access token", chromedp.Evaluate[string](`JSON.parse(sessionStorage.getItem("notes.tokens")).access`))
	if got := q.get(q.issuer+"/oauth2/userinfo", token); got.status != http.StatusOK {
		t.Fatalf("userinfo before signing out: %d %s", got.status, got.body)
	}
	b.do("sign out", chromedp.Click(chromedp.CSS("#sign-out")), chromedp.WaitVisible(chromedp.CSS("#sign-in")))
	b.at(q.app + "/")
	if page := b.back(q); strings.Contains(page, "milk") || strings.Contains(page, email) {
		t.Errorf("going back shows what only the person may see: %q", page)
	}
	b.signedOut(q, token)
	b.signIn(q, email, 2)
	if got := b.text("#notes li"); got != note {
		t.Errorf("signed in again, the note is %q, want %q", got, note)
	}
	b.mailbox(q, email)
}

// poll waits until an expression is true.
func poll(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](expression)
}

// back goes back as the browser's button does, and returns the text of the app then.
// The browser may keep a page as it was left, so there is no loading to wait for.
func (b *browser) back(q *quickstart) (text string) {
	b.t.Helper()
	before := value(b, "read the history", chromedp.NavigationEntries()).CurrentIndex
	value(b, "go back", chromedp.Evaluate[chromedp.Void](`history.back()`))
	q.await("the page before", func() bool {
		return value(b, "read the history", chromedp.NavigationEntries()).CurrentIndex == before-1
	})
	q.await("the app, signed out", func() (shown bool) {
		shown, _ = chromedp.Run(b.ctx, chromedp.Evaluate[bool](`document.querySelector("#signed-out").hidden === false`))
		return shown
	})
	return value(b, "read the page", chromedp.Evaluate[string](`document.body.textContent`))
}

// at checks where the tab is.
func (b *browser) at(want string) {
	b.t.Helper()
	if got := value(b, "read the address", chromedp.Location()); got != want {
		b.t.Errorf("the address is %s, want %s", got, want)
	}
}

// signedOut checks that it is true at the issuer, not only in the app.
func (b *browser) signedOut(q *quickstart, token string) {
	b.t.Helper()
	if got := q.get(q.issuer+"/oauth2/userinfo", token); got.status != http.StatusUnauthorized {
		b.t.Errorf("userinfo after signing out: %d %s", got.status, got.body)
	}
	b.do("open the app", chromedp.Navigate(q.app))
	b.do("ask to sign in", chromedp.Click(chromedp.CSS("#sign-in")), chromedp.WaitVisible(chromedp.CSS("#email")))
	if got := value(b, "read the field", chromedp.Value(chromedp.CSS("#email"))); got != "" {
		b.t.Errorf("the issuer still knows %q", got)
	}
	b.do("leave it", chromedp.Navigate(q.app), chromedp.WaitVisible(chromedp.CSS("#sign-in")))
}

// mailbox looks at the development mailbox as a person does.
func (b *browser) mailbox(q *quickstart, email string) {
	b.t.Helper()
	b.do("open the mailbox", chromedp.Navigate(q.issuer+"/dev/mailbox"), chromedp.WaitVisible(chromedp.CSS("li a")))
	if first := b.text("li a"); !strings.Contains(first, email) || !strings.Contains(first, q.messages()[0].Subject) {
		b.t.Errorf("the first mail is %q", first)
	}
	b.do("open a mail", chromedp.Click(chromedp.CSS("li a")), chromedp.WaitVisible(chromedp.CSS("pre")))
	if text, code := b.text("pre"), q.code(email, 2); !strings.Contains(text, code) {
		b.t.Errorf("no code %s in %q", code, text)
	}
	b.do("wait for the HTML", chromedp.WaitVisible(chromedp.CSS("iframe")))
}
