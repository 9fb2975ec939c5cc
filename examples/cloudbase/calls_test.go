//go:build browser

package main

import (
	"context"
	"testing"
)

// testCalls makes the calls that are left, in the words of version 3.
func testCalls(t *testing.T, p *program, browser context.Context) {
	b := open(t, browser, p, p.page+"/")
	const email = "ann@example.com"
	b.do(`const { data, error } = await auth.signUp({ email: %q, username: "ann-1", password: "password123", name: "Ann" }); globalThis.step = data; return { error }`, email)
	// The token is a number when it can be one: it is one on the wire, too.
	b.do(`const token = %q; return step.verifyOtp({ token: token.startsWith("0") ? token : Number(token) })`, p.code(email))
	b.is(email)
	b.returns(`"Ann"`, `return (await auth.getUser()).data.user.user_metadata.name`)
	b.returns(`true`, `return (await auth.getSession()).data.session.access_token.length < 4096`)
	b.returns(`true`, `return (await auth.getSession()).data.session.refresh_token.length <= 128`)
	b.returns(`true`, `const { data } = await auth.getClaims(); return data.claims.sub === (await auth.getUserInfo()).uid`)
	b.do(`return auth.refreshSession()`)
	b.do(`const { data } = await auth.getSession(); return auth.setSession(data.session)`)
	b.is(email)
	b.returns(`[]`, `return (await auth.getUserIdentities()).data.identities`)
	b.do(`await auth.currentUser.update({ name: "Ann B", gender: "FEMALE" }); await auth.currentUser.refresh()`)
	b.returns(`["Ann B","FEMALE"]`, `const { name, gender } = await auth.getUserInfo(); return [name, gender]`)
	b.do(`return auth.updateUser({ nickname: "annie", description: "likes notes" })`)
	b.returns(`"annie"`, `return (await auth.getUserInfo()).nickName`)
	b.returns(`true`, `return (await auth.loginScope()).split(" ").includes("notes:read")`)
	b.do(`return auth.signOut()`)

	b.do(`const { data, error } = await auth.signInWithOtp({ email: %q, options: { shouldCreateUser: false } }); globalThis.step = data; return { error }`, email)
	b.do(`return step.verifyOtp({ token: %q })`, p.code(email))
	b.is(email)
	b.do(`return auth.signOut({ redirect_uri: location.origin + "/", state: "s" })`)

	b.do(`const { data, error } = await auth.signInWithOtp({ email: %q }); globalThis.step = data; return { error }`, email)
	b.do(`return step.verifyOtp({ token: %q })`, p.code(email))
	b.is(email)
	b.signOut()

	b.fails("failed_precondition", `return auth.signInWithOtp({ email: "nobody@example.com", options: { shouldCreateUser: false } })`)
	b.fails("failed_precondition", `return auth.resetPasswordForEmail("nobody@example.com")`)
	b.fails("invalid_argument", `await auth.getVerification({ phone_number: "+86 13800000000" })`)
	b.fails("invalid_argument", `await auth.getVerification({ email: "no address" })`)
	b.fails("unimplemented", `return auth.signInAnonymously()`)
	b.fails("invalid_password", `return auth.signInWithPassword({ email: "nobody@example.com", password: "password123" })`)
	b.do(`const { data, error } = await auth.resend({ type: "signup", email: %q }); globalThis.step = data; return { error }`, email)
	b.do(`return auth.verifyOtp({ type: "email", email: %q, token: %q, messageId: step.messageId })`, email, p.code(email))
	b.is(email)
}

// returns runs code that has to return this, as JSON.
func (s *sdk) returns(want, code string) {
	s.t.Helper()
	if got := string(s.do("%s", code)); got != want {
		s.t.Errorf("%s\nreturned %s, want %s", code, got, want)
	}
}
