package provider_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

const racers = 100

// stores are what every race is run over.
var stores = map[string]func(storage.Store) storage.Store{
	"SQLite":  nil,
	"Weakest": storetest.Weakest,
}

// replicas starts three servers of one issuer on one store. s is one of them, and one
// gives each in its turn.
func replicas(t *testing.T, opts options) (s *server, one func() *server) {
	t.Helper()
	opts.direct = true // they all have one name
	s = start(t, opts)
	opts.store = sharing(s.store)
	all := []*server{s, start(t, opts), start(t, opts)}
	var n atomic.Uint64
	return s, func() *server { return all[n.Add(1)%uint64(len(all))] }
}

// race asks racers times at once.
func race(ask func() answer) []answer {
	answers := make([]answer, racers)
	var barrier, done sync.WaitGroup
	barrier.Add(1)
	for i := range answers {
		done.Go(func() {
			barrier.Wait()
			answers[i] = ask()
		})
	}
	barrier.Done()
	done.Wait()
	return answers
}

// oneWinner fails the test unless exactly one answer is a 200 and every other one
// is invalid_grant.
func oneWinner(t *testing.T, answers []answer) answer {
	t.Helper()
	var winner answer
	won := 0
	for _, a := range answers {
		if a.status == http.StatusOK {
			winner = a
			won++
			continue
		}
		a.is(t, http.StatusBadRequest, "invalid_grant")
	}
	if won != 1 {
		t.Fatalf("%d of %d got tokens, want exactly 1", won, len(answers))
	}
	return winner
}

func TestAS13_CodeRace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s, one := replicas(t, options{store: wrap})
			for round := range rounds {
				q := s.browser().signIn(authorizePath(webID), "racer@example.com").arrives(t, callback)
				code := q.Get("code")
				oneWinner(t, race(func() answer { return one().exchange(code) }))
				if t.Failed() {
					t.Fatalf("round %d", round)
				}
			}
		})
	}
}

func TestEC04_EmailedCodeRace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s, one := replicas(t, options{store: wrap, config: func(c *config.Config) {
				c.Limits.TriesPerSource = rounds * racers * 10 // all of them are one source
			}})
			for range rounds {
				started := s.post("/oauth2/verification", "client_id", nativeID, "email", "racer@example.com", "scope", "openid")
				id, code := started.json(t)["verification_id"].(string), s.code("racer@example.com")
				oneWinner(t, race(func() answer {
					return one().post("/oauth2/token", "grant_type", config.GrantEmailCaptcha, "client_id", nativeID,
						"verification_id", id, "verification_code", code)
				}))
			}
		})
	}
}

func TestAS54_RefreshRaceWithinGrace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s, one := replicas(t, options{store: wrap})
			token := s.tokens("racer@example.com")["refresh_token"].(string)
			for range rounds {
				successors := map[any]bool{}
				for _, a := range race(func() answer { return one().refresh(token) }) {
					if a.status != http.StatusOK {
						t.Fatalf("within the grace: %d %s", a.status, a.body)
					}
					successors[a.json(t)["refresh_token"]] = true
				}
				if len(successors) != 1 {
					t.Fatalf("%d successors of one refresh token, want 1", len(successors))
				}
				for successor := range successors {
					token = successor.(string)
				}
			}
		})
	}
}

func TestAS54_RefreshRaceStrict(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s, one := replicas(t, options{store: wrap, config: func(c *config.Config) { c.Tokens.RefreshGrace = config.Off }})
			for range rounds {
				token := s.tokens("racer@example.com")["refresh_token"].(string)
				oneWinner(t, race(func() answer { return one().refresh(token) }))
			}
		})
	}
}

const refreshers = 50

// TestAS55_RefreshAgainstRevocation revokes a family while it is being refreshed by
// many. Once the revocation is acknowledged, no request gets tokens any more, and none
// of those that were given before works.
func TestAS55_RefreshAgainstRevocation(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s, one := replicas(t, options{store: wrap})
			b := s.browser()
			b.signIn(authorizePath(webID), "racer@example.com").arrives(t, callback)
			given, rounds := 0, rounds/len(stores)
			for round := range rounds {
				family := s.exchange(b.nextCode()).json(t)
				// Before, among and behind those who refresh.
				got := refreshAndRevoke(t, one, family["refresh_token"].(string), round*refreshers/rounds)
				given += len(got)
				for i, tokens := range append(got, family) {
					if i%8 != 0 && i < len(got)-3 {
						continue // one record decides about all of them
					}
					if a := one().userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized {
						t.Errorf("an access token of the revoked family: %d", a.status)
					}
				}
				one().refresh(family["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
				if len(got) > 0 {
					one().refresh(got[0]["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
				}
				if t.Failed() {
					t.Fatalf("round %d", round)
				}
			}
			t.Logf("%d token responses before %d revocations", given, rounds)
			if given == 0 {
				t.Error("nobody was given tokens before a revocation: nothing was raced")
			}
		})
	}
}

// refreshAndRevoke has many refresh a token while it is revoked, the revoker starting
// as the nth, and returns what they were given.
func refreshAndRevoke(t *testing.T, one func() *server, token string, nth int) []map[string]any {
	t.Helper()
	var revoked atomic.Bool
	var mu sync.Mutex
	var given []map[string]any
	refresh := func(times int) {
		token := token
		for range times {
			late := revoked.Load()
			a := one().refresh(token)
			if a.status != http.StatusOK {
				if a.status != http.StatusBadRequest || a.json(t)["error"] != "invalid_grant" {
					t.Errorf("refresh: %d %s", a.status, a.body)
				}
				return
			}
			if late {
				t.Error("a refresh that began after the revocation was acknowledged got tokens")
			}
			tokens := a.json(t)
			mu.Lock()
			given = append(given, tokens)
			mu.Unlock()
			token = tokens["refresh_token"].(string)
		}
	}
	revoke := func() {
		if a := one().revoke(token); a.status != http.StatusOK {
			t.Errorf("revoke: %d %s", a.status, a.body)
		}
		revoked.Store(true)
	}
	var barrier, done sync.WaitGroup
	barrier.Add(1)
	for i := range refreshers + 1 {
		deed := func() { refresh(1 + i%2) }
		if i == nth {
			deed = revoke
		}
		done.Go(func() {
			barrier.Wait()
			deed()
		})
	}
	barrier.Done()
	done.Wait()
	return given
}
