//go:build browser

package main

import (
	"context"
	"testing"
)

// testLostAnswers: the SDK sends a request again when its answer was lost, under the
// same x-request-id. What was done the first time is answered, and not done twice.
func testLostAnswers(t *testing.T, p *program, browser context.Context) {
	b := open(t, browser, p, p.page+"/")
	// The first answer to each request is lost after the server has given it.
	b.do(`const { fetch } = window;
		window.lost = [];
		window.fetch = async (url, options) => {
			const response = await fetch(url, options);
			const id = options?.headers?.["x-request-id"];
			if (!id || lost.includes(id)) return response;
			lost.push(id);
			throw new TypeError("Failed to fetch");
		}`)
	const email = "ann@example.com"
	b.signUp(email, "ann-1", "password123")
	b.do(`await auth.refreshTokenForce()`)
	b.is(email)
	b.signOut()
	b.do(`await auth.signIn({ username: %q, verification_token: %q })`, email, b.prove(email))
	b.is(email)
	b.do(`globalThis.step = (await auth.updateUser({ email: "ann@example.org" })).data; return step.error`)
	b.do(`return step.verifyOtp({ email: "ann@example.org", token: %q })`, p.code("ann@example.org"))
	b.is("ann@example.org")
	b.do(`return auth.resetPasswordForOld({ old_password: "password123", new_password: "another456" })`)
	b.is("ann@example.org")

	if lost := b.do(`return lost.length > 20`); string(lost) != "true" {
		t.Errorf("hardly any answer was lost: %s", b.do(`return lost`))
	}
	for _, to := range []struct {
		email string
		mails int
	}{{email, 2}, {"ann@example.org", 1}} {
		n := 0
		for _, m := range p.messages() {
			if m.To == to.email && codeLine.MatchString(m.Text) {
				n++
			}
		}
		if n != to.mails {
			t.Errorf("%d mails with codes to %s, want %d", n, to.email, to.mails)
		}
	}
}
