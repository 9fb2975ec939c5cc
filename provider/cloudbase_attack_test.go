package provider_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// hooked does a deed once, right before the next Put of a kind: what somebody else
// does in the middle of a request.
type hooked struct {
	storage.Store
	kind storage.Kind
	deed *atomic.Pointer[func()]
}

func (h hooked) Put(ctx context.Context, r storage.Record) error {
	if r.Key.Kind == h.kind {
		if deed := h.deed.Swap(nil); deed != nil {
			(*deed)()
		}
	}
	return h.Store.Put(ctx, r)
}

// meanwhile starts a server and returns what arms the deed.
func meanwhile(t *testing.T, kind storage.Kind) (s *server, arm func(deed func())) {
	t.Helper()
	p := new(atomic.Pointer[func()])
	s = start(t, options{store: func(db storage.Store) storage.Store { return hooked{db, kind, p} }})
	return s, func(deed func()) { p.Store(&deed) }
}

func (a *app) change(old, fresh string) req {
	return req{method: "PATCH", path: "user/password", body: fields{"old_password": old, "new_password": fresh}, bearer: true}
}

func (a *app) reset(email, fresh string) req {
	a.s.t.Helper()
	out := a.s.app(a.client)
	out.device = a.device
	return req{path: "reset", id: secrets.NewID(), body: fields{"new_password": fresh, "verification_token": out.prove(email)}}
}

// isOut fails the test unless the sign-in is over.
func (a *app) isOut(what string) {
	a.s.t.Helper()
	if got := a.do(req{method: "GET", path: "user/me", bearer: true}); got.status == http.StatusOK {
		a.s.t.Errorf("%s: somebody is still signed in", what)
	}
}

// Whoever signs in with the old password while it is being changed is out as well.
func TestCloudBase_OldPasswordMeanwhile(t *testing.T) {
	for what, kind := range map[string]storage.Kind{"before the Put of the password": storage.Password, "while signing in": storage.Grant} {
		s, arm := meanwhile(t, kind)
		a, thief := s.app(envID), s.app(envID)
		a.signedUp("ann@example.com", "ann", "password123")
		signIn := func() {
			if got := thief.signInWith("ann", "password123"); got.status == http.StatusOK {
				thief.took(got.json(t))
			}
		}
		change := func() { a.ok(a.change("password123", "password456")) }
		if kind == storage.Password {
			arm(signIn)
			change()
		} else {
			arm(change)
			signIn()
		}
		thief.isOut(what)
	}
	// On the page, where a session is what is made.
	s, arm := meanwhile(t, storage.Session)
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	b := s.browser()
	page := b.onPasswordPage(authorizePath(webID), "ann")
	arm(func() { a.ok(a.change("password123", "password456")) })
	if got := b.submit(page, "password", "password", "password123"); got.status == http.StatusSeeOther {
		t.Errorf("signed in on the page with a password that was changed meanwhile: %s", got.header.Get("Location"))
	}
}

// What is under way with a stolen sign-in does not outlast the owner's reset.
func TestCloudBase_ChangeUnderWayAtAReset(t *testing.T) {
	s, arm := meanwhile(t, storage.Password)
	thief := s.app(envID)
	thief.signedUp("ann@example.com", "ann", "password123")
	owner := s.app(envID)
	reset := owner.reset("ann@example.com", "owner1234")
	arm(func() { owner.ok(reset) })
	thief.do(thief.change("password123", "thief1234"))
	if got := s.app(envID).signInWith("ann", "thief1234"); got.status == http.StatusOK {
		t.Error("the thief's password stands")
	}
	if got := owner.signInWith("ann", "owner1234"); got.status != http.StatusOK {
		t.Errorf("the owner's does not: %s", got.body)
	}

	s, arm = meanwhile(t, storage.User)
	thief, owner = s.app(envID), s.app(envID)
	thief.signedUp("ann@example.com", "ann", "password123")
	thief.verify(thief.verification("evil@example.com"), s.code("evil@example.com"))
	reset = owner.reset("ann@example.com", "owner1234")
	arm(func() { owner.ok(reset) })
	if got := thief.do(req{path: "user/basic/edit", body: fields{"email": "evil@example.com"}, bearer: true}); got.status == http.StatusOK {
		t.Error("the thief's address stands")
	}
}

// Nor a squatter's with what somebody else proves.
func TestCloudBase_ChangeUnderWayAtAProof(t *testing.T) {
	s, arm := meanwhile(t, storage.Password)
	squatter, owner := s.app(envID), s.app(envID)
	squatter.signedUp("ann@example.com", "", "squatter1")
	s.change("ann@example.com", func(u *users.User) { u.EmailVerified = false })
	arm(func() {
		owner.took(owner.ok(req{path: "signin", body: fields{"verification_token": owner.prove("ann@example.com")}}))
	})
	squatter.do(squatter.change("squatter1", "squatter2"))
	if got := squatter.signInWith("ann@example.com", "squatter2"); got.status == http.StatusOK {
		t.Error("the squatter's password opens the proven account")
	}
}

// A proof is spent once. Its request, sent again, gives what it gave, and never what
// was ended since.
func TestCloudBase_ReplayAfterTheEnd(t *testing.T) {
	s := start(t, options{})
	owner, thief := s.app(envID), s.app(envID)
	owner.signedUp("ann@example.com", "ann", "password123")
	signIn := req{path: "signin", id: secrets.NewID(), body: fields{"verification_token": thief.prove("ann@example.com")}}
	thief.took(thief.ok(signIn))
	owner.ok(owner.reset("ann@example.com", "password456"))
	thief.isOut("after a reset")
	thief.fails(signIn, "invalid_argument", 3)

	bob := s.app(envID)
	signUp := req{path: "signup", id: secrets.NewID(), body: fields{"verification_token": bob.prove("bob@example.com"), "username": "bob", "password": "password123"}}
	bob.took(bob.ok(signUp))
	bob.ok(bob.change("password123", "password456"))
	bob.ok(signUp)
	if got := bob.signInWith("bob", "password123"); got.status == http.StatusOK {
		t.Error("a sign-up sent again puts its password back")
	}
	bob.ok(req{path: "user/signout", body: fields{}, bearer: true})
	bob.fails(signUp, "invalid_argument", 3)
	bob.took(bob.signInWith("bob", "password456").json(t))
	bob.ok(req{method: "DELETE", path: "user/me", body: fields{"sudo_token": bob.sudo("password456")}, bearer: true})
	bob.fails(signUp, "invalid_argument", 3)
	if n := len(s.accounts()); n != 1 {
		t.Errorf("%d accounts after one was deleted", n)
	}

	s.waitMail("ann@example.com") // the notice
	reset := owner.reset("ann@example.com", "password789")
	owner.ok(reset)
	owner.took(owner.signInWith("ann", "password789").json(t))
	owner.ok(owner.change("password789", "password000"))
	owner.ok(reset) // it was done, and is not done again
	owner.me()
	if got := thief.signInWith("ann", "password789"); got.status == http.StatusOK {
		t.Error("a reset sent again puts its password back")
	}
}

func TestCloudBase_ContactSentAgain(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	contact := req{method: "PATCH", path: "user/contact", id: secrets.NewID(), bearer: true,
		body: fields{"email": "one@example.com", "sudo_token": a.sudo("password123"), "verification_token": a.prove("one@example.com")}}
	a.ok(contact)
	a.ok(contact)
	a.verify(a.verification("two@example.com"), s.code("two@example.com"))
	a.ok(req{path: "user/basic/edit", body: fields{"email": "two@example.com"}, bearer: true})
	a.fails(contact, "invalid_argument", 3)
	if email := a.me()["email"]; email != "two@example.com" {
		t.Errorf("a spent proof has changed the address back to %s", email)
	}
}

// Choosing a new password shuts out whoever had read the mail, or confirmed themselves,
// before it.
func TestCloudBase_OlderProofs(t *testing.T) {
	clock := newClock()
	s := start(t, options{now: clock.now})
	a, thief := s.app(envID), s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	var proofs []string
	for range 3 {
		proofs = append(proofs, thief.prove("ann@example.com"))
	}
	sudo := a.sudo("password123")
	clock.advance(time.Second)
	a.ok(a.change("password123", "password456"))
	a.fails(req{method: "DELETE", path: "user/me", body: fields{"sudo_token": sudo}, bearer: true}, "permission_denied", 7)
	thief.fails(req{path: "reset", body: fields{"new_password": "thief1234", "verification_token": proofs[0]}}, "invalid_argument", 3)
	thief.fails(req{path: "signin", body: fields{"verification_token": proofs[1]}}, "invalid_argument", 3)
	a.fails(req{path: "user/sudo", body: fields{"verification_token": proofs[2]}, bearer: true}, "invalid_argument", 3)
}

// Every service of an app gets to see its access token. With nothing else the
// account's address cannot be changed.
func TestCloudBase_AccessTokenAloneChangesNoAddress(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	for _, device := range []string{"", "dev-" + secrets.NewID()} {
		service := s.app(envID)
		service.token, service.origin, service.device = a.token, "", device
		email := fmt.Sprintf("evil%d@example.com", len(device))
		service.verify(service.verification(email), s.code(email))
		service.fails(req{path: "user/basic/edit", body: fields{"email": email}, bearer: true}, "permission_denied", 7)
	}
}

// Somebody who was once signed in cannot lock the owner out from there.
func TestCloudBase_FormerDevice(t *testing.T) {
	s := start(t, options{})
	owner, thief := s.app(envID), s.app(envID)
	owner.signedUp("ann@example.com", "ann", "password123")
	thief.took(thief.signInWith("ann", "password123").json(t))
	thief.token, owner.token = "", ""
	owner.ok(owner.reset("ann@example.com", "password456"))
	for range 25 {
		thief.signInWith("ann", "wrong-password1")
	}
	if got := owner.signInWith("ann", "password456"); got.status != http.StatusOK {
		t.Errorf("the owner's device, the right password: %d %s", got.status, got.body)
	}
}

// The owner of the old address learns of the change, whatever happens next.
func TestCloudBase_NoticeIsNotSuppressed(t *testing.T) {
	clock := newClock()
	s := start(t, options{now: clock.now})
	thief := s.app(envID)
	thief.signedUp("ann@example.com", "ann", "password123")
	for _, email := range []string{"evil1@example.com", "evil2@example.com"} {
		thief.verify(thief.verification(email), s.code(email))
	}
	refused := make(chan struct{}, 100)
	s.inbox.Fail(func(m mail.Message) error {
		if m.To != "ann@example.com" {
			return nil
		}
		refused <- struct{}{}
		return errors.New("451 try again later")
	})
	edit := func(email string) req {
		return req{path: "user/basic/edit", body: fields{"email": email}, bearer: true}
	}
	thief.ok(edit("evil1@example.com"))
	<-refused
	thief.ok(edit("evil2@example.com"))
	s.inbox.Fail(nil)
	clock.advance(time.Minute)
	if m := s.waitMail("ann@example.com"); !strings.Contains(m.Text, "address") {
		t.Errorf("%s", m.Text)
	}
}

// The proof of a mailbox that the account has left, or is leaving.
func TestCloudBase_OldMailbox(t *testing.T) {
	s, arm := meanwhile(t, storage.Verification)
	a, thief := s.app(envID), s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	token, spare := thief.prove("ann@example.com"), thief.prove("ann@example.com")
	a.verify(a.verification("new@example.com"), s.code("new@example.com"))
	arm(func() { a.ok(req{path: "user/basic/edit", body: fields{"email": "new@example.com"}, bearer: true}) })
	thief.do(req{path: "reset", body: fields{"new_password": "thief1234", "verification_token": token}})
	if got := thief.signInWith("ann", "thief1234"); got.status == http.StatusOK {
		t.Error("the old mailbox has reset the password of the account that left it")
	}
	thief.fails(req{path: "signin", body: fields{"verification_token": spare}}, "invalid_password", 4100)
}

// A refresh token ends the sign-in as the access token does.
func TestCloudBase_RevokeByRefreshToken(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	tokens := a.signedUp("ann@example.com", "", "")
	a.ok(req{path: "revoke", body: fields{"token": tokens["refresh_token"]}})
	a.isOut("after revoking the refresh token")
	a.fails(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}, "invalid_grant", 4102)
}
