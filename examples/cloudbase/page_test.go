//go:build browser

package main

import (
	"context"
	"testing"
)

// testPage3 does what a person can do on the page, with version 3 of the SDK.
func testPage3(t *testing.T, p *program, browser context.Context) {
	open(t, browser, p, p.page+"/").walk()
}

// testPage2 does the same with version 2, whose calls answer as those of version 3.
func testPage2(t *testing.T, p *program, browser context.Context) {
	b := open(t, browser, p, p.page+"/v2/")
	if kind := b.text(`return typeof app.registerHost`); kind != "undefined" {
		t.Fatalf("this is not version 2 of the SDK: app.registerHost is a %s", kind)
	}
	b.walk()

	b.is("new@example.com")
	b.refresh("new@example.com")
	b.signOut()
	b.signIn("userFromEmail", "forgotten789")
	b.is("new@example.com")
	b.fails("invalid_password", `await auth.sudo({ password: "another456" })`)
	b.do(`const { sudo_token } = await auth.sudo({ password: "forgotten789" }); await auth.setPassword({ sudo_token, new_password: "changed012" })`)
	b.is("new@example.com")
	b.signOut()
	b.fails("invalid_password", `await auth.signIn({ username: "userFromEmail", password: "forgotten789" })`)
	b.signIn("new@example.com", "changed012")
	b.is("new@example.com")
}

// walk presses every button, and ends signed in as new@example.com with the password
// forgotten789.
func (b *tab) walk() {
	const email, newEmail = "test@example.com", "new@example.com"
	b.t.Helper()
	signOut := func() {
		b.fill("sign-out")
		b.act("wait until it is signed out", visible("signed-out"))
		b.signedOut()
	}
	// The documented flow, twice: it signs up, and then in.
	var accounts []string
	for range 2 {
		b.fill("email-login-start", "email", email)
		b.enter(email)
		b.shows("who", email)
		accounts = append(accounts, b.text(`return (await auth.getUserInfo()).uid`))
		b.is(email)
		b.fill("call-notes")
		b.shows("said", "Welcome!")
		b.fill("refresh")
		b.shows("said", "There is a new access token.")
		signOut()
	}
	if accounts[0] == "" || accounts[0] != accounts[1] {
		b.t.Errorf("signed up as %s, in as %s", accounts[0], accounts[1])
	}

	b.fill("password-login-start", "login-name", "userFromEmail", "login-password", "wrong12345")
	b.shows("error", "wrong")
	b.fill("password-login-start", "login-name", "userFromEmail", "login-password", "password123")
	b.shows("who", email)

	b.fill("change-email-start", "new-email", newEmail)
	b.enter(email)
	b.enter(newEmail)
	b.shows("who", newEmail)
	b.fill("change-password-start", "old-password", "password123", "new-password", "another456")
	b.shows("said", "The password is changed.")
	signOut()

	b.fill("forgotten-start", "forgotten-email", newEmail, "forgotten-new", "forgotten789")
	b.enter(newEmail)
	b.shows("said", "The password is changed.")
	b.fill("password-login-start", "login-name", newEmail, "login-password", "forgotten789")
	b.shows("who", newEmail)
	if got := string(b.do(`const { username, email } = await auth.getUserInfo(); return [username, email]`)); got != `["userFromEmail","`+newEmail+`"]` {
		b.t.Errorf("signed in as %s", got)
	}
}
