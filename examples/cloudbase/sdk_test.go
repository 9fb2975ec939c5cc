//go:build browser

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// An sdk is the real @cloudbase/js-sdk of one person, in Node or in a browser. The
// code it is given runs as the body of an async function and knows app and auth.
type sdk struct {
	t   *testing.T
	p   *program
	run func(expression string) (string, error) // to JSON
}

// A result is what a piece of code returned, or threw.
type result struct {
	Value json.RawMessage `json:"value"`
	Error *refusal        `json:"error"`
}

// A refusal is an error of the SDK: what it rejects with, or the error in its answer.
type refusal struct {
	Error     string `json:"error"`
	Status    string `json:"status"` // what an AuthError calls error
	ErrorCode int    `json:"error_code"`
	Text      string `json:"error_description"`
	Category  string `json:"category"`
	Message   string `json:"message"`
}

// try runs code; args go into it as texts of JavaScript, at each %q. What the SDK
// answers as {data, error} counts as thrown when there is an error.
func (s *sdk) try(code string, args ...any) result {
	s.t.Helper()
	if len(args) > 0 {
		code = fmt.Sprintf(code, args...)
	}
	raw, err := s.run(`(async () => {
		const plain = (e) => ({ message: e.message, ...e });
		try {
			const value = await (async () => { ` + code + ` })();
			if (value?.error) return JSON.stringify({ error: plain(value.error) });
			return JSON.stringify({ value: value ?? null });
		} catch (e) {
			return JSON.stringify({ error: plain(e) });
		}
	})()`)
	if err != nil {
		s.t.Fatalf("%s\n%v", code, err)
	}
	var r result
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		s.t.Fatalf("%s\n%v\n%s", code, err, raw)
	}
	return r
}

// do runs code that has to work.
func (s *sdk) do(code string, args ...any) json.RawMessage {
	s.t.Helper()
	r := s.try(code, args...)
	if r.Error != nil {
		s.t.Fatalf("%s\nfailed: %+v", fmt.Sprintf(code, args...), *r.Error)
	}
	return r.Value
}

// text runs code that returns a text.
func (s *sdk) text(code string, args ...any) (text string) {
	s.t.Helper()
	if raw := s.do(code, args...); json.Unmarshal(raw, &text) != nil {
		s.t.Fatalf("%s\nreturned %s", code, raw)
	}
	return text
}

// fails runs code that has to be refused with this error.
func (s *sdk) fails(want, code string, args ...any) {
	s.t.Helper()
	r := s.try(code, args...)
	if r.Error == nil {
		s.t.Fatalf("%s\nworked: %s", fmt.Sprintf(code, args...), r.Value)
	}
	if got := r.Error.Error; got != want && r.Error.Status != want {
		s.t.Errorf("%s\nfailed with %+v, want %s", fmt.Sprintf(code, args...), *r.Error, want)
	}
}

// prove gets a verification_token for an address.
func (s *sdk) prove(email string) string {
	s.t.Helper()
	id := s.text(`return (await auth.getVerification({ email: %q })).verification_id`, email)
	return s.text(`return (await auth.verify({ verification_id: %q, verification_code: %q })).verification_token`, id, s.p.code(email))
}

// signUp makes an account and signs in to it.
func (s *sdk) signUp(email, username, password string) {
	s.t.Helper()
	s.do(`await auth.signUp({ email: %q, verification_token: %q, username: %q, password: %q })`, email, s.prove(email), username, password)
	s.is(email)
}

// signIn uses a password.
func (s *sdk) signIn(name, password string) {
	s.t.Helper()
	s.do(`await auth.signIn({ username: %q, password: %q })`, name, password)
}

func (s *sdk) signOut() {
	s.t.Helper()
	s.do(`return auth.signOut()`)
	s.signedOut()
}

// is checks who is signed in, at the server and at the API.
func (s *sdk) is(email string) {
	s.t.Helper()
	if got := s.text(`return (await auth.getLoginState()) ? (await auth.getUserInfo()).email : "nobody"`); got != email {
		s.t.Fatalf("signed in is %s, want %s", got, email)
	}
	// getUserInfo falls back on what it has kept.
	if got := s.p.status(s.p.issuer+"/auth/v1/user/me", s.token()); got != http.StatusOK {
		s.t.Fatalf("user/me: %d", got)
	}
	if got := s.p.status(s.p.page+"/api/notes", s.token()); got != http.StatusOK {
		s.t.Fatalf("the protected handler: %d", got)
	}
}

func (s *sdk) signedOut() {
	s.t.Helper()
	if got := s.do(`return [await auth.getLoginState(), auth.hasLoginState()].every((state) => !state)`); string(got) != "true" {
		s.t.Fatal("the SDK is still signed in")
	}
}

// token is the access token.
func (s *sdk) token() string {
	s.t.Helper()
	return s.text(`return (await auth.getAccessToken()).accessToken`)
}

// ordinary goes through what works in every environment of the SDK's version 3.
func (s *sdk) ordinary() {
	s.t.Helper()
	const email, newEmail = "ann@example.com", "ann@example.org"
	s.signUp(email, "ann-1", "password123")
	if got := string(s.do(`const { uid, username, hasPassword } = await auth.getUserInfo(); return [Boolean(uid), username, await auth.isUsernameRegistered("ann-1"), await auth.isUsernameRegistered("nobody")]`)); got != `[true,"ann-1",true,false]` {
		s.t.Errorf("user info: %s", got)
	}
	s.refresh(email)

	dead := s.token()
	s.signOut()
	if got := s.p.status(s.p.issuer+"/auth/v1/user/me", dead); got != http.StatusUnauthorized {
		s.t.Errorf("user/me after signing out: %d", got)
	}
	s.signIn("ann-1", "password123")
	s.is(email)
	s.signOut()
	s.signIn(email, "password123")
	s.is(email)

	s.do(`globalThis.step = (await auth.updateUser({ email: %q })).data; return step.error`, newEmail)
	s.fails("invalid_argument", `return step.verifyOtp({ email: %q, token: %q })`, newEmail, "none")
	s.is(email)
	s.do(`return step.verifyOtp({ email: %q, token: %q })`, newEmail, s.p.code(newEmail))
	s.is(newEmail)
	s.signOut()

	s.do(`const { data, error } = await auth.resetPasswordForEmail(%q); globalThis.step = data; return { error }`, newEmail)
	s.do(`return step.updateUser({ nonce: %q, password: "another456" })`, s.p.code(newEmail))
	s.is(newEmail)
	s.signOut()
	s.fails("invalid_password", `await auth.signIn({ username: "ann-1", password: "password123" })`)
	s.signIn("ann-1", "another456")
	s.is(newEmail)
}

// refresh gets new tokens, which have to be others.
func (s *sdk) refresh(email string) {
	s.t.Helper()
	before := s.token()
	s.do(`await auth.refreshTokenForce()`)
	if s.token() == before {
		s.t.Error("refreshed, the access token is the old one")
	}
	s.is(email)
}
