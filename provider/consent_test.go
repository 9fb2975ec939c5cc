package provider_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
	"github.com/lettergate/lettergate/provider/users"
)

// asks reports whether the answer is the consent page.
func (a answer) asks() bool {
	return a.status == http.StatusOK && strings.Contains(a.body, `id="allow"`)
}

// allows asks for a code for the third party's client, in a browser that is signed in,
// and says yes.
func (b *browser) allows(pairs ...string) answer {
	b.s.t.Helper()
	page := b.get(authorizePath(thirdID, append([]string{"prompt", "consent"}, pairs...)...))
	return b.submit(page, "allow", "decision", "allow")
}

// thirdExchange redeems a code of the third party's client, thirdRefresh uses its
// refresh token.
func (s *server) thirdExchange(code string) answer {
	s.t.Helper()
	return s.post("/oauth2/token", append(without("client_id", exchangeForm(code)), "client_id", thirdID)...)
}

func (s *server) thirdRefresh(token string) answer {
	s.t.Helper()
	return s.post("/oauth2/token", "grant_type", "refresh_token", "client_id", thirdID, "refresh_token", token)
}

// thirdTokens are tokens of the third party's client that the person in the browser has
// allowed.
func (s *server) thirdTokens(b *browser, pairs ...string) map[string]any {
	s.t.Helper()
	got := s.thirdExchange(b.allows(pairs...).arrives(s.t, callback).Get("code"))
	if got.status != http.StatusOK {
		s.t.Fatalf("code exchange: %d %s", got.status, got.body)
	}
	return got.json(s.t)
}

// thirdDead fails the test unless neither token of the answer works.
func (s *server) thirdDead(tokens map[string]any) {
	s.t.Helper()
	s.thirdRefresh(tokens["refresh_token"].(string)).is(s.t, http.StatusBadRequest, "invalid_grant")
	if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized {
		s.t.Errorf("the access token works: %d", a.status)
	}
}

// thirdAlive fails the test unless both work.
func (s *server) thirdAlive(tokens map[string]any) {
	s.t.Helper()
	s.alive(tokens)
	if a := s.thirdRefresh(tokens["refresh_token"].(string)); a.status != http.StatusOK {
		s.t.Errorf("refresh: %d %s", a.status, a.body)
	}
}

// withdraw withdraws what the account allows the third party's client.
func (s *server) withdraw(address string) {
	s.t.Helper()
	subject := s.account(address).Subject
	for {
		err := s.provider.WithdrawConsent(s.t.Context(), subject, thirdID)
		if err == nil {
			return
		}
		if !errors.Is(err, storage.ErrUnavailable) { // as it may be on the weakest store
			s.t.Fatal(err)
		}
	}
}

// consents are the records of what the account has allowed.
func (s *server) consents(subject string) (storage.Store, []storage.Record) {
	s.t.Helper()
	store := storage.Scope(s.store, s.provider.Issuer())
	records, _, err := store.List(s.t.Context(), "consent/sub/"+subject, storage.Page{Limit: storage.MaxPage})
	if err != nil {
		s.t.Fatal(err)
	}
	return store, records
}

// forgetConsents is a withdrawal that died after its first step.
func (s *server) forgetConsents(address string) {
	s.t.Helper()
	store, records := s.consents(s.account(address).Subject)
	if len(records) == 0 {
		s.t.Fatal("nothing is remembered: nothing is tested")
	}
	for _, r := range records {
		if err := store.Delete(s.t.Context(), r.Key); err != nil {
			s.t.Fatal(err)
		}
	}
}

// anotherThird adds one more client that is asked about.
func anotherThird(c *config.Config) {
	other := c.Clients[1]
	other.ID = "fourth"
	c.Clients = append(c.Clients, other)
}

func TestOP02_RememberedConsent(t *testing.T) {
	s := start(t, options{direct: true, config: anotherThird})
	b := s.browser()
	ask := func(client string, pairs ...string) answer {
		t.Helper()
		return b.send(s.request("GET", authorizePath(client, pairs...), ""))
	}
	silent := func(pairs ...string) answer { return ask(thirdID, append(pairs, "prompt", "none")...) }
	page := b.signIn(authorizePath(thirdID), "ann@example.com")
	b.submit(page, "deny", "decision", "deny").redirectsError(t, "access_denied")
	if !ask(thirdID).asks() {
		t.Error("a no is remembered as a yes")
	}
	silent().redirectsError(t, "consent_required")
	tokens := s.thirdTokens(b)

	for what, a := range map[string]answer{
		"the same": ask(thirdID), "less": ask(thirdID, "scope", "openid"), "nothing": ask(thirdID, "scope", ""), "silently": silent(),
	} {
		got := s.thirdExchange(a.arrives(t, callback).Get("code"))
		if got.status != http.StatusOK {
			t.Errorf("asked for %s: %d %s", what, got.status, got.body)
		}
	}
	if !ask(thirdID, "prompt", "consent").asks() {
		t.Error("prompt=consent does not ask")
	}
	if a := b.signIn(authorizePath(thirdID, "prompt", "login"), "ann@example.com"); a.arrives(t, callback).Get("code") == "" {
		t.Error("after signing in once more, no code")
	}

	// More is asked about, and remembered with what there was.
	more := []string{"scope", "openid notes:read"}
	silent(more...).redirectsError(t, "consent_required")
	if !ask(thirdID, more...).asks() {
		t.Error("a scope that was not allowed is not asked about")
	}
	s.thirdTokensOf(b, more...)
	for _, scope := range []string{"openid notes:read", "openid email offline_access", "openid email offline_access notes:read"} {
		if q := ask(thirdID, "scope", scope).arrives(t, callback); q.Get("code") == "" {
			t.Errorf("%s: %v", scope, q)
		}
	}
	if !ask(thirdID, "scope", "openid profile").asks() {
		t.Error("a scope that was never allowed is not asked about")
	}

	// It is one person's, for one client, and survives the process.
	if !ask("fourth").asks() {
		t.Error("another client is allowed what this one is")
	}
	again := s.restarted(anotherThird)
	other := again.browser()
	other.client.Jar = jarOf(t, again, b.cookies())
	if q := other.send(again.request("GET", authorizePath(thirdID), "")).arrives(t, callback); q.Get("code") == "" {
		t.Errorf("after a restart: %v", q)
	}
	again.thirdAlive(tokens)
	if !b.signIn(authorizePath(thirdID, "prompt", "login"), "bob@example.com").asks() {
		t.Error("another person has allowed what this one has")
	}
}

// thirdTokensOf is thirdTokens for a page that is shown because something is new.
func (s *server) thirdTokensOf(b *browser, pairs ...string) {
	s.t.Helper()
	a := b.submit(b.get(authorizePath(thirdID, pairs...)), "allow", "decision", "allow")
	if got := s.thirdExchange(a.arrives(s.t, callback).Get("code")); got.status != http.StatusOK {
		s.t.Fatalf("code exchange: %d %s", got.status, got.body)
	}
}

// Another program on the device could answer in the place of a public client that is not
// reached by https (RFC 8252 section 8.6): it is asked about every time. That what was
// allowed is remembered all the same, its refresh shows.
func TestOP02_NativeClientIsAskedEveryTime(t *testing.T) {
	const app = "com.example.app:/cb"
	s := start(t, options{direct: true, config: func(c *config.Config) {
		published(c)
		c.Clients[0].RedirectURIs = append(c.Clients[0].RedirectURIs, app)
		c.Clients[1].RedirectURIs = []string{callback, app}
	}})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, client := range []string{thirdID, webID} {
		var tokens map[string]any
		for range 3 {
			page := b.send(s.request("GET", authorizePath(client, "redirect_uri", app), ""))
			if !page.asks() {
				t.Fatalf("%s is not asked about: %d to %s", client, page.status, page.header.Get("Location"))
			}
			silent := b.send(s.request("GET", authorizePath(client, "redirect_uri", app, "prompt", "none"), ""))
			if q := silent.arrives(t, app); q.Get("error") != "consent_required" {
				t.Errorf("%s, silently: %v", client, q)
			}
			code := b.submit(page, "allow", "decision", "allow").arrives(t, app).Get("code")
			tokens = s.post("/oauth2/token", "grant_type", "authorization_code", "client_id", client, "code", code,
				"redirect_uri", app, "code_verifier", verifier).json(t)
		}
		form := []string{"grant_type", "refresh_token", "client_id", client, "refresh_token", tokens["refresh_token"].(string)}
		if a := s.post("/oauth2/token", form...); a.status != http.StatusOK {
			t.Fatalf("%s: refresh: %d %s", client, a.status, a.body)
		}
		if err := s.provider.WithdrawConsent(t.Context(), s.account("ann@example.com").Subject, client); err != nil {
			t.Fatal(err)
		}
		s.post("/oauth2/token", form...).is(t, http.StatusBadRequest, "invalid_grant")
	}
	// Having just signed in does not stand in for the answer of who is asked about.
	page := b.get(authorizePath(thirdID, "redirect_uri", app))
	b.submit(page, "allow", "decision", "allow").arrives(t, app)
	if a := b.signIn(authorizePath(thirdID, "redirect_uri", app, "prompt", "login"), "ann@example.com"); !a.asks() {
		t.Errorf("signed in just now, not asked about: %d to %s", a.status, a.header.Get("Location"))
	}
}

func TestAS59_ConsentWithdrawnEndsRefresh(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) { c.Clients[1].Audiences = []string{secretID} }})
	ann, first := s.signedIn("ann@example.com", "openid email offline_access")
	bob, _ := s.signedIn("bob@example.com", "openid")
	tokens, bobs := s.thirdTokens(ann), s.thirdTokens(bob)
	rotated := s.thirdRefresh(tokens["refresh_token"].(string)).json(t)
	code := ann.allows().arrives(t, callback).Get("code")
	if a := s.introspect(rotated["access_token"].(string)); a.json(t)["active"] != true {
		t.Fatalf("the audience is told %s", a.body)
	}
	s.withdraw("ann@example.com")
	for _, all := range []map[string]any{rotated, tokens} { // before anybody asks for more
		access := all["access_token"].(string)
		if info, told := s.userinfo(access), s.introspect(access); info.status != http.StatusUnauthorized || told.body != inactive {
			t.Errorf("an access token right after: userinfo %d, introspected %s", info.status, told.body)
		}
	}
	s.thirdExchange(code).is(t, http.StatusBadRequest, "invalid_grant")
	s.thirdDead(rotated)
	s.thirdDead(tokens) // in its grace
	ann.send(s.request("GET", authorizePath(thirdID, "prompt", "none"), "")).redirectsError(t, "consent_required")
	if !ann.get(authorizePath(thirdID)).asks() {
		t.Error("what was withdrawn is not asked about")
	}
	s.alive(s.rotated(first)) // her other client's
	s.thirdAlive(bobs)

	s.withdraw("ann@example.com") // nothing
	if err := s.provider.WithdrawConsent(t.Context(), "no such person", "no such client"); err != nil {
		t.Errorf("withdrawing nothing: %v", err)
	}
	// Allowed again, it is a new grant; the old one stays dead.
	fresh := s.thirdTokens(ann)
	s.thirdDead(rotated)
	s.thirdAlive(fresh)
}

// A grant rests on the consent itself: a withdrawal that was not finished is enough, and
// so is a consent that covers less.
func TestAS59_ConsentIsAskedForAtEachUse(t *testing.T) {
	for name, gone := range map[string]func(*server, *browser){
		"gone": func(s *server, _ *browser) { s.forgetConsents("ann@example.com") },
		"less": func(s *server, b *browser) {
			s.forgetConsents("ann@example.com")
			b.allows("scope", "openid offline_access").arrives(s.t, callback)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, grace := range []config.Duration{0, config.Off} {
				s := start(t, options{config: func(c *config.Config) { c.Tokens.RefreshGrace = grace }})
				b, _ := s.signedIn("ann@example.com", "openid")
				tokens, grace := s.thirdTokens(b), s.thirdTokens(b)
				s.thirdRefresh(grace["refresh_token"].(string))
				code := b.get(authorizePath(thirdID)).arrives(t, callback).Get("code")
				gone(s, b)
				s.thirdExchange(code).is(t, http.StatusBadRequest, "invalid_grant")
				s.thirdDead(tokens)
				s.thirdDead(grace)
				b.allows() // too late
				s.thirdDead(tokens)
				s.thirdExchange(code).is(t, http.StatusBadRequest, "invalid_grant")
			}
		})
	}
}

// Grants that rest on no consent are not asked for one: a first party's, which never had
// one, and those that were made before consents were remembered.
func TestAS59_GrantsWithoutConsent(t *testing.T) {
	s := start(t, options{})
	b, first := s.signedIn("ann@example.com", "openid offline_access")
	tokens := s.thirdTokens(b)
	store := storage.Scope(s.store, s.provider.Issuer())
	key := storage.Key{Kind: storage.Grant, ID: claimsOf(t, tokens["access_token"])["gid"].(string)}
	_, err := storage.Update(t.Context(), store, key, func(cur storage.Record) (storage.Record, error) {
		grant := map[string]any{}
		if err := json.Unmarshal(cur.Value, &grant); err != nil || grant["consent"] != true {
			return cur, fmt.Errorf("the grant says %s, %w", cur.Value, err)
		}
		delete(grant, "consent")
		value, err := json.Marshal(grant)
		cur.Value = value
		return cur, err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.forgetConsents("ann@example.com")
	s.thirdAlive(tokens)
	s.alive(s.rotated(first))
}

// Whatever a refresh does at the same time, after a withdrawal nothing works.
func TestAS59_WithdrawalRace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{store: wrap})
			b, _ := s.signedIn("ann@example.com", "openid")
			beside := 0
			for range rounds {
				tokens := s.thirdTokens(b)
				code := b.allows().arrives(t, callback).Get("code")
				var turn atomic.Int32
				answers := race(func() answer {
					switch turn.Add(1) {
					case racers / 2:
						s.withdraw("ann@example.com")
						return s.thirdRefresh(tokens["refresh_token"].(string))
					case racers - 1:
						return s.thirdExchange(code)
					}
					return s.thirdRefresh(tokens["refresh_token"].(string))
				})
				for _, a := range answers {
					if a.status == http.StatusOK {
						beside++
						if info := s.userinfo(a.json(t)["access_token"].(string)); info.status != http.StatusUnauthorized {
							t.Errorf("an access token right after: %d", info.status)
						}
						s.thirdDead(a.json(t))
					} else {
						a.is(t, http.StatusBadRequest, "invalid_grant")
					}
				}
				s.thirdDead(tokens)
				if t.Failed() {
					return
				}
			}
			t.Logf("%d of %d were faster than the withdrawal", beside, rounds*racers)
		})
	}
}

// Two pages that are allowed at once are both remembered.
func TestOP02_ConsentRace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{store: wrap})
			for round := range 5 {
				b, _ := s.signedIn(fmt.Sprintf("ann%d@example.com", round), "openid")
				scopes := []string{"openid", "email", "profile", "offline_access", "notes:read"}
				var all sync.WaitGroup
				for _, scope := range scopes {
					page := b.get(authorizePath(thirdID, "scope", scope))
					all.Go(func() {
						if a := b.submit(page, "allow", "decision", "allow"); a.status != http.StatusSeeOther {
							t.Errorf("allowed %s: %d", scope, a.status)
						}
					})
				}
				all.Wait()
				if q := b.get(authorizePath(thirdID, "scope", strings.Join(scopes, " "))); q.arrives(t, callback).Get("code") == "" {
					t.Error("not all of them are remembered")
				}
			}
		})
	}
}

// TestAS59_WithdrawalFails lets each call of a withdrawal fail. It says so, and can be
// repeated; from its first step on nothing can be refreshed.
func TestAS59_WithdrawalFails(t *testing.T) {
	f := &fault{}
	s := start(t, options{direct: true, store: func(db storage.Store) storage.Store {
		return requestsOnly{db, storetest.Faulty(db, f.fail)}
	}})
	for name, err := range map[string]error{"call": errHostile, "reply": lateErr} {
		for call := 1; ; call++ {
			address := fmt.Sprintf("%s%d@example.com", name, call)
			b, _ := s.signedIn(address, "openid")
			tokens := s.thirdTokens(b)
			ctx, subject := context.WithValue(t.Context(), fromRequest{}, true), s.account(address).Subject
			f.arm(call, true, err)
			failed := s.provider.WithdrawConsent(ctx, subject, thirdID)
			calls, _ := f.disarm()
			if calls < call {
				if failed != nil || calls < 4 {
					t.Fatalf("with a store that works: %v after %d calls", failed, calls)
				}
				break
			}
			if !errors.Is(failed, storage.ErrUnavailable) {
				t.Errorf("%s %d of %d failed: %v", name, call, calls, failed)
			}
			if call > 1 {
				s.thirdDead(tokens)
			}
			if err := s.provider.WithdrawConsent(ctx, subject, thirdID); err != nil {
				t.Fatal(err)
			}
			s.thirdDead(tokens)
		}
	}
}

func TestWithdrawConsentBeforeRun(t *testing.T) {
	p, err := provider.New(testConfig("http://localhost:8080"), provider.Deps{Store: openStorage(t, emptyStorage(t), nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WithdrawConsent(t.Context(), "ann", thirdID); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// Nobody inherits what somebody allowed, and nothing is left of it.
func TestOP06_ConsentsGoWithTheAccount(t *testing.T) {
	s := start(t, options{})
	app := s.app(envID)
	app.signedUp("ann@example.com", "ann", "password123")
	subject := s.account("ann@example.com").Subject
	b, _ := s.signedIn("ann@example.com", "openid")
	tokens := s.thirdTokens(b)
	if _, records := s.consents(subject); len(records) != 1 {
		t.Fatalf("%d consents are remembered, want 1", len(records))
	}
	app.ok(req{method: "DELETE", path: "user/me?sudo_token=" + url.QueryEscape(app.sudo("password123").(string)), bearer: true})
	if _, records := s.consents(subject); len(records) != 0 {
		t.Errorf("%d consents of an account that is gone", len(records))
	}
	s.thirdDead(tokens)
}

// A decision that has been answered is none any more: sent again after the consent was
// withdrawn, by the back button or by a proxy that retries, it allows nothing.
func TestAS59_OldDecisionAllowsNothingAfterWithdrawal(t *testing.T) {
	s := start(t, options{})
	b, _ := s.signedIn("ann@example.com", "openid")
	page := b.get(authorizePath(thirdID))
	b.submit(page, "allow", "decision", "allow").arrives(t, callback)
	s.withdraw("ann@example.com")
	if a := b.submit(page, "allow", "decision", "allow"); a.status != http.StatusBadRequest {
		t.Errorf("the same decision again: %d to %q", a.status, a.header.Get("Location"))
	}
	if _, records := s.consents(s.account("ann@example.com").Subject); len(records) != 0 {
		t.Error("it was refused, and allowed the client all the same")
	}
	b.send(s.request("GET", authorizePath(thirdID, "prompt", "none"), "")).redirectsError(t, "consent_required")
}

// A withdrawal that died after its first step has ended what was granted before it, also
// when the person allows the client again before anybody uses that.
func TestAS59_AllowedAgainRevivesNothing(t *testing.T) {
	for _, grace := range []config.Duration{0, config.Off} {
		s := start(t, options{config: func(c *config.Config) { c.Tokens.RefreshGrace = grace }})
		b, _ := s.signedIn("ann@example.com", "openid")
		stolen := s.thirdTokens(b)
		code := b.get(authorizePath(thirdID)).arrives(t, callback).Get("code")
		s.forgetConsents("ann@example.com")
		fresh := s.thirdTokens(b)
		s.thirdExchange(code).is(t, http.StatusBadRequest, "invalid_grant")
		s.thirdDead(stolen)
		s.thirdAlive(fresh)
	}
}

// before does something just before the next record of a kind is written.
type before struct {
	storage.Store
	kind storage.Kind
	do   *atomic.Pointer[func()]
}

func (b before) Put(ctx context.Context, r storage.Record) error {
	if r.Key.Kind == b.kind {
		if do := b.do.Swap(nil); do != nil {
			(*do)()
		}
	}
	return b.Store.Put(ctx, r)
}

// Who was signed in to an account before its owner came, and presses allow while the
// owner proves the address, leaves the owner no consent for a client of theirs.
func TestOP07_NoConsentFromBeforeTheOwner(t *testing.T) {
	do := new(atomic.Pointer[func()])
	s := start(t, options{direct: true, store: func(db storage.Store) storage.Store { return before{db, storage.Consent, do} }})
	squatter, _ := s.signedIn("ann@example.com", "openid")
	subject := s.account("ann@example.com").Subject
	s.change("ann@example.com", func(u *users.User) { u.EmailVerified = false })
	page := squatter.get(authorizePath(thirdID))
	owner := s.browser()
	proves := func() { owner.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback) }
	do.Store(&proves)
	late := squatter.submit(page, "allow", "decision", "allow")
	if _, records := s.consents(subject); len(records) != 0 {
		t.Errorf("the owner finds a consent; the squatter was answered %d to %q", late.status, late.header.Get("Location"))
	}
	owner.send(s.request("GET", authorizePath(thirdID, "prompt", "none"), "")).redirectsError(t, "consent_required")
	if !s.account("ann@example.com").EmailVerified {
		t.Error("nobody has proven anything: nothing is tested")
	}
}

// Nor a code: one that is issued while the owner ends all that was signed in is good for
// nothing, although what it asks for outlives a session.
func TestOP07_NoCodeFromBeforeTheOwner(t *testing.T) {
	do := new(atomic.Pointer[func()])
	s := start(t, options{direct: true, store: func(db storage.Store) storage.Store { return before{db, storage.Grant, do} }})
	squatter, _ := s.signedIn("ann@example.com", "openid")
	s.change("ann@example.com", func(u *users.User) { u.EmailVerified = false })
	proves := func() {
		s.browser().signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	}
	do.Store(&proves)
	a := squatter.send(s.request("GET", authorizePath(webID, "scope", "openid offline_access"), ""))
	if !s.account("ann@example.com").EmailVerified {
		t.Fatal("nobody has proven anything: nothing is tested")
	}
	s.exchange(a.arrives(t, callback).Get("code")).is(t, http.StatusBadRequest, "invalid_grant")
}
