package provider_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// events are what a hook was told.
type events struct {
	mu   sync.Mutex
	list []provider.Event
}

func (e *events) hooks() provider.Hooks {
	return provider.Hooks{Event: func(_ context.Context, event provider.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.list = append(e.list, event)
	}}
}

// taken returns what was told since it was last called.
func (e *events) taken() []provider.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// none fails the test when something was told.
func (e *events) none(t *testing.T, what string) {
	t.Helper()
	if list := e.taken(); len(list) != 0 {
		t.Errorf("%s: told of %+v", what, list)
	}
}

// one fails the test unless exactly one event was told: of this kind, about Ann and the
// grant of the access token, in the request that got the answer.
func (e *events) one(s *server, kind provider.EventKind, at time.Time, access any, a answer) {
	s.t.Helper()
	list := e.taken()
	want := provider.Event{
		Kind: kind, At: at, ClientID: webID, Subject: s.account("ann@example.com").Subject,
		GrantID: claimsOf(s.t, access)["gid"].(string), RequestID: a.header.Get("X-Request-Id"),
	}
	if len(list) != 1 || list[0] != want || want.RequestID == "" {
		s.t.Errorf("told of %+v, want %+v", list, want)
	}
}

func TestAS53_ReuseRaisesAnEvent(t *testing.T) {
	clk, told := newClock(), &events{}
	s := start(t, options{now: clk.now, hooks: told.hooks()})
	first := s.tokens("ann@example.com")
	token := first["refresh_token"].(string)
	second := s.rotated(first)
	s.rotated(first)
	told.none(t, "a rotated token within its grace")
	clk.advance(time.Hour)
	s.post("/oauth2/token", "grant_type", "refresh_token", "refresh_token", token, "client_id", thirdID).is(t, http.StatusBadRequest, "invalid_grant")
	s.refresh(token[:len(token)-1]).is(t, http.StatusBadRequest, "invalid_grant")
	told.none(t, "another client's token, and one that is none")
	reused := s.refresh(token)
	reused.is(t, http.StatusBadRequest, "invalid_grant")
	told.one(s, provider.RefreshTokenReused, clk.now(), first["access_token"], reused)
	for range 3 {
		s.refresh(token).is(t, http.StatusBadRequest, "invalid_grant")
	}
	s.dead(second)
	told.none(t, "tokens of a family that is revoked")

	// Ended by its own client, a family has nothing left to tell.
	first = s.tokens("ann@example.com")
	second = s.rotated(first)
	clk.advance(time.Hour)
	s.revoke(second["refresh_token"].(string))
	s.refresh(first["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
	told.none(t, "a rotated token after its family was revoked")
}

func TestAS12_ReplayRaisesAnEvent(t *testing.T) {
	clk, told := newClock(), &events{}
	s := start(t, options{now: clk.now, hooks: told.hooks()})
	code := s.freshCode()
	first := s.exchange(code).json(t)
	foreign := append(without("client_id", exchangeForm(code)), "client_id", thirdID)
	s.post("/oauth2/token", foreign...).is(t, http.StatusBadRequest, "invalid_grant")
	s.exchange(code[:32]+altered(code[32:])).is(t, http.StatusBadRequest, "invalid_grant")
	told.none(t, "another client's code, and one that is none")
	clk.advance(time.Second)
	replayed := s.exchange(code)
	replayed.is(t, http.StatusBadRequest, "invalid_grant")
	told.one(s, provider.CodeReplayed, clk.now(), first["access_token"], replayed)
	s.exchange(code).is(t, http.StatusBadRequest, "invalid_grant")
	s.dead(first)
	told.none(t, "what belongs to a grant that is revoked")

	// A code that is burnt by a wrong verifier was not used twice.
	code = s.freshCode()
	wrong := append(without("code_verifier", exchangeForm(code)), "code_verifier", strings.Repeat("x", 43))
	s.post("/oauth2/token", wrong...).is(t, http.StatusBadRequest, "invalid_grant")
	s.exchange(code).is(t, http.StatusBadRequest, "invalid_grant")
	told.none(t, "a code with a wrong verifier")
}

// However many present a dead token at once, to however many replicas, one event says
// that its family was revoked: from whoever did it.
func TestAS53_AS12_OneEventInARace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			clk, told := newClock(), &events{}
			s := start(t, options{store: wrap, now: clk.now, hooks: told.hooks(), direct: true})
			replica := start(t, options{store: sharing(s.store), now: clk.now, hooks: told.hooks(), direct: true})
			var turn atomic.Int32
			either := func() *server { return []*server{s, replica}[turn.Add(1)%2] }
			for round := range rounds {
				code := s.freshCode()
				tokens := s.exchange(code).json(t)
				ask, kind := func() answer { return either().exchange(code) }, provider.CodeReplayed
				if round%2 == 1 {
					s.rotated(tokens)
					clk.advance(time.Hour)
					ask, kind = func() answer { return either().refresh(tokens["refresh_token"].(string)) }, provider.RefreshTokenReused
				}
				answers := race(ask)
				for _, a := range answers {
					a.is(t, http.StatusBadRequest, "invalid_grant")
				}
				list := told.taken()
				if len(list) != 1 || list[0].Kind != kind || !slices.ContainsFunc(answers, func(a answer) bool { return a.header.Get("X-Request-Id") == list[0].RequestID }) {
					t.Fatalf("round %d: told of %+v, want one %s", round, list, kind)
				}
			}
		})
	}
}

// Beside a refresh that was faster, the family ends all the same, and it is said.
func TestAS53_EventBesideARefresh(t *testing.T) {
	clk, told := newClock(), &events{}
	var faster func()
	var raw storage.Store
	s := start(t, options{direct: true, now: clk.now, hooks: told.hooks(), store: func(db storage.Store) storage.Store {
		raw = db
		return requestsOnly{db, storetest.Faulty(db, func(op storetest.Op) error {
			if do := faster; do != nil && op.Name == "Put" {
				faster = nil
				do()
			}
			return nil
		})}
	}})
	replica := start(t, options{direct: true, now: clk.now, hooks: told.hooks(), store: sharing(raw)})
	first := s.tokens("ann@example.com")
	second := s.rotated(first)
	clk.advance(time.Hour)
	var third map[string]any
	faster = func() { third = replica.rotated(second) }
	reused := s.refresh(first["refresh_token"].(string))
	reused.is(t, http.StatusBadRequest, "invalid_grant")
	told.one(s, provider.RefreshTokenReused, clk.now(), first["access_token"], reused)
	s.dead(third)
}

// A hook is called when the family is dead already, and whatever it does, the answer is
// the same.
func TestAS53_HookPanics(t *testing.T) {
	clk := newClock()
	var s *server
	var first map[string]any
	called := false
	s = start(t, options{now: clk.now, hooks: provider.Hooks{Event: func(context.Context, provider.Event) {
		called = true
		if a := s.userinfo(first["access_token"].(string)); a.status != http.StatusUnauthorized {
			t.Errorf("told before it is stored: the access token gets %d", a.status)
		}
		panic(hostileText)
	}}})
	first = s.tokens("ann@example.com")
	second := s.rotated(first)
	clk.advance(time.Minute)
	a := s.refresh(first["refresh_token"].(string))
	a.is(t, http.StatusBadRequest, "invalid_grant")
	a.leaksNothing(t, "a panic of the hook")
	if !called {
		t.Error("the hook was not called")
	}
	s.dead(second)
}

// Whoever hangs up while the family is being revoked does not keep it quiet.
func TestAS53_HangingUpKeepsNothingQuiet(t *testing.T) {
	clk, told := newClock(), &events{}
	ctx, hangUp := context.WithCancel(t.Context())
	var armed atomic.Bool
	var heard error
	hooks := told.hooks()
	tell := hooks.Event
	hooks.Event = func(ctx context.Context, e provider.Event) {
		heard = ctx.Err()
		tell(ctx, e)
	}
	s := start(t, options{direct: true, now: clk.now, hooks: hooks, store: func(db storage.Store) storage.Store {
		return requestsOnly{db, storetest.Faulty(db, func(op storetest.Op) error {
			if armed.Load() && op.Name == "Put" {
				hangUp()
			}
			return nil
		})}
	}})
	first := s.tokens("ann@example.com")
	second := s.rotated(first)
	clk.advance(time.Minute)
	form := values("grant_type", "refresh_token", "client_id", webID, "refresh_token", first["refresh_token"].(string))
	armed.Store(true)
	resp, err := s.transport.RoundTrip(s.request("POST", "/oauth2/token", form.Encode()).WithContext(ctx))
	read(t, resp, err)
	armed.Store(false)
	if ctx.Err() == nil {
		t.Fatal("nobody hung up: nothing is tested")
	}
	if list := told.taken(); len(list) != 1 || heard != nil {
		t.Errorf("told of %+v, with a context that says %v", list, heard)
	}
	s.dead(second)
}
