//go:build browser

package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lettergate/lettergate/middleware"
)

// visible waits until the element with an id is shown.
func visible(id string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS("#" + id))
}

// testChromium goes through what Node can do, and then what it cannot: the SDK sends
// PATCH and DELETE in a browser only.
func testChromium(t *testing.T, p *program, browser context.Context) {
	b := open(t, browser, p, p.page+"/")
	b.ordinary()
	const email = "bob@example.org"
	b.do(`globalThis.sudo = await auth.sudo({ password: "another456" })`)
	b.do(`await auth.setPassword({ sudo_token: sudo.sudo_token, new_password: "changed012" })`)
	b.do(`await auth.bindEmail({ email: %q, sudo_token: (await auth.sudo({ password: "changed012" })).sudo_token, verification_token: %q })`, email, b.prove(email))
	b.is(email)
	b.do(`return auth.resetPasswordForOld({ old_password: "changed012", new_password: "changed345" })`)
	b.do(`await auth.currentUser.updatePassword("changed678", "changed345")`)
	b.is(email)
	b.signOut()
	b.signIn(email, "changed678")
	// As the published sample has it: the whole answer in place of the token.
	b.do(`await auth.bindEmail({ email: %q, sudo_token: await auth.sudo({ password: "changed678" }), verification_token: %q })`, "bob@example.net", b.prove("bob@example.net"))
	b.is("bob@example.net")

	b.do(`globalThis.step = (await auth.reauthenticate()).data; return step.error`)
	b.do(`return step.updateUser({ nonce: %q, password: "changed901" })`, p.code("bob@example.net"))
	b.is("bob@example.net")

	b.fails("invalid_password", `return auth.deleteUser({ password: "changed678" })`)
	b.is("bob@example.net")
	b.do(`return auth.deleteUser({ password: "changed901" })`)
	b.fails("invalid_password", `return auth.signInWithPassword({ username: "ann-1", password: "changed901" })`)
	b.fails("invalid_password", `return auth.signInWithPassword({ email: "bob@example.net", password: "changed901" })`)
}

// testLogin: a mistake does not cost the login, and a dead token does.
func testLogin(t *testing.T, p *program, browser context.Context) {
	b := open(t, browser, p, p.page+"/")
	const email = "ann@example.com"
	if got := p.status(p.page+"/api/notes", ""); got != http.StatusUnauthorized {
		t.Errorf("the protected handler without a token: %d", got)
	}
	b.signUp(email, "ann-1", "password123")
	for _, c := range []struct{ want, code string }{
		{"invalid_password", `await auth.sudo({ password: "wrong12345" })`},
		{"permission_denied", `await auth.setPassword({ sudo_token: "none", new_password: "another456" })`},
		{"invalid_argument", `const { verification_id } = await auth.getVerification({ email: "ann@example.com" }); await auth.verify({ verification_id, verification_code: "none" })`},
		{"invalid_argument", `await auth.sudo({ verification_token: "none" })`},
		{"invalid_argument", `await auth.updateUserBasicInfo({ email: "unproven@example.com" })`},
	} {
		b.fails(c.want, "%s", c.code)
		b.is(email)
	}

	p.revoke(b.token())
	b.fails("unauthenticated", `await auth.sudo({ password: "password123" })`)
	b.signedOut()

	// The same when it is the refresh token that is found dead.
	b.signIn(email, "password123")
	p.revoke(b.token())
	b.fails("unauthenticated", `await auth.refreshTokenForce()`)
	b.signedOut()
}

// testTabs: two tabs of a page share what is stored, and nothing keeps them from
// refreshing at once. The SDK signs both out when one of them is refused.
func testTabs(t *testing.T, p *program, browser context.Context) {
	const email = "ann@example.com"
	first := open(t, browser, p, p.page+"/")
	first.signUp(email, "ann-1", "password123")
	second := open(t, browser, p, p.page+"/")
	tabs := []*tab{first, second}
	for _, b := range tabs {
		b.is(email)
		// Both requests are made before either is sent.
		b.do(`const { fetch } = window;
			window.fetch = (url, options) => {
				if (!String(url).includes("/auth/v1/token")) return fetch(url, options);
				window.sent = options.body;
				return new Promise((go) => { window.go = go }).then(() => fetch(url, options));
			};
			window.refreshed = auth.refreshTokenForce()`)
		b.act("wait for the request", chromedp.Poll[chromedp.Void](`Boolean(window.go)`))
	}
	if a, b := first.text(`return sent`), second.text(`return sent`); a != b {
		t.Fatalf("the tabs do not use the same refresh token: %s, %s", a, b)
	}
	for _, b := range tabs {
		b.do(`go()`)
	}
	for _, b := range tabs {
		b.do(`await refreshed`)
		b.is(email)
	}
	for _, b := range tabs {
		b.do(`delete window.go; window.refreshed = auth.refreshTokenForce()`)
		b.act("wait for the request", chromedp.Poll[chromedp.Void](`Boolean(window.go)`))
		b.do(`go(); await refreshed`)
		b.is(email)
	}
}

// testOrigin: the page at an origin that is not registered gets nothing, whether the
// browser asks beforehand or not.
func testOrigin(t *testing.T, p *program, browser context.Context) {
	verifier, err := middleware.ForIssuer(p.issuer, p.page)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := httptest.NewServer(appHandler(verifier, p.issuer, p.folder))
	t.Cleanup(elsewhere.Close)
	b := open(t, browser, p, elsewhere.URL+"/")
	b.fails("unreachable", `await auth.getVerification({ email: "ann@example.com" })`)
	if r := b.try(`return (await fetch(%q, { method: "POST", body: '{"email":"ann@example.com"}' })).text()`, p.issuer+"/auth/v1/verification?client_id="+envID); r.Error == nil {
		t.Errorf("a request without a preflight was answered with %s", r.Value)
	}
	if mails := p.messages(); len(mails) > 0 {
		t.Errorf("there are mails: %v", mails)
	}
	// Neither is it this page: where it is registered, it works.
	open(t, browser, p, p.page+"/").prove("ann@example.com")
}
