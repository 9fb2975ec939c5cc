package provider_test

import (
	"net/http"
	"sync"
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
			s := start(t, options{store: wrap})
			for round := range rounds {
				q := s.browser().signIn(authorizePath(webID), "racer@example.com").arrives(t, callback)
				code := q.Get("code")
				oneWinner(t, race(func() answer { return s.exchange(code) }))
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
			s := start(t, options{store: wrap, config: func(c *config.Config) {
				c.Limits.TriesPerSource = rounds * racers * 10 // all of them are one source
			}})
			for range rounds {
				started := s.post("/oauth2/verification", "client_id", nativeID, "email", "racer@example.com", "scope", "openid")
				id, code := started.json(t)["verification_id"].(string), s.code("racer@example.com")
				oneWinner(t, race(func() answer {
					return s.post("/oauth2/token", "grant_type", config.GrantEmailCaptcha, "client_id", nativeID,
						"verification_id", id, "verification_code", code)
				}))
			}
		})
	}
}

func TestAS54_RefreshRaceWithinGrace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{store: wrap})
			token := s.tokens("racer@example.com")["refresh_token"].(string)
			for range rounds {
				successors := map[any]bool{}
				for _, a := range race(func() answer { return s.refresh(token) }) {
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
			s := start(t, options{store: wrap, config: func(c *config.Config) { c.Tokens.RefreshGrace = config.Off }})
			for range rounds {
				token := s.tokens("racer@example.com")["refresh_token"].(string)
				oneWinner(t, race(func() answer { return s.refresh(token) }))
			}
		})
	}
}
