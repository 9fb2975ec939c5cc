//go:build browser

package main

import (
	"context"
	"testing"
)

// testCategories: the SDK sorts errors by number, by name, and by words in the text,
// and apps decide by what comes out.
func testCategories(t *testing.T, p *program, browser context.Context) {
	b := open(t, browser, p, p.page+"/")
	b.signUp("ann@example.com", "ann-1", "password123")
	b.signOut()
	categories(b.sdk)
	unknownEnv := `const other = cloudbase.init({ env: "nobodys-env" });
		other.registerHost(new URL(%q).host, "http");
		return other.auth().signInWithPassword({ username: "ann-1", password: "password123" })`
	b.category("PROVIDER_NOT_ENABLED", unknownEnv, p.issuer)

	node := inNode(t, p)
	categories(node)
	node.category("PROVIDER_NOT_ENABLED", unknownEnv, p.issuer)

	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	b.category("SERVICE_ERROR", `return auth.signInWithPassword({ username: "ann-1", password: "password123" })`)
}

func categories(s *sdk) {
	s.t.Helper()
	s.category("INVALID_CREDENTIALS", `return auth.signInWithPassword({ username: "ann-1", password: "wrong12345" })`)

	const known = "ann@example.com"
	s.do(`globalThis.step = (await auth.signInWithOtp({ email: %q })).data`, known)
	code := s.p.code(known)
	s.category("VERIFICATION_FAILED", `return step.verifyOtp({ token: %q })`, wrong(code))

	const fresh = "bob@example.com"
	for _, c := range []struct{ want, username, password string }{
		{"PRECONDITION_FAILED", "ann-1", "password123"},
		{"INVALID_PARAMS", "bob-1", "short"},
		{"INVALID_PARAMS", "bob-1", "onlyletters"},
	} {
		s.do(`const { data, error } = await auth.signUp({ email: %q, username: %q, password: %q }); globalThis.step = data; return { error }`, fresh, c.username, c.password)
		s.category(c.want, `return step.verifyOtp({ token: %q })`, s.p.code(fresh))
	}
}

// category runs code that has to be refused with an error of this class.
func (s *sdk) category(want, code string, args ...any) {
	s.t.Helper()
	if r := s.try(code, args...); r.Error == nil || r.Error.Category != want {
		s.t.Errorf("%s %q\nanswered %s, failed with %+v, want %s", code, args, r.Value, r.Error, want)
	}
}
