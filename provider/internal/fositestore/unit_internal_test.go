package fositestore

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

type clients struct{}

func (clients) Client(id string) (fosite.Client, bool) {
	return &fosite.DefaultClient{ID: id, Public: true}, id == "app"
}

const grace = time.Minute

func newStore(t *testing.T, now func() time.Time, wrap func(storage.Store) storage.Store) *Store {
	t.Helper()
	var db storage.Store
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "t.db"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if wrap != nil {
		db = wrap(db)
	}
	ring, err := secrets.New([]secrets.Secret{{ID: "k", Value: []byte("a secret of at least thirty-two bytes")}})
	if err != nil {
		t.Fatal(err)
	}
	policy := Policy{Code: time.Minute, RefreshIdle: time.Hour, RefreshMax: 3 * time.Hour, RefreshGrace: grace}
	return New(policy, now, storage.Scope(db, "https://id.example"), ring, clients{})
}

// family begins a family and returns its first refresh token.
func family(t *testing.T, s *Store) string {
	t.Helper()
	_, u := s.Begin(t.Context())
	u.BeginActive(Grant{ClientID: "app", Subject: "ann", Scopes: []string{"offline_access"}})
	token, err := u.issueRefresh()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return token
}

// use presents a refresh token as the client, without storing what follows.
func use(t *testing.T, s *Store, token, client string) (*Unit, error) {
	t.Helper()
	ctx, u := s.Begin(t.Context())
	request := fosite.NewAccessRequest(&Session{})
	request.Client = &fosite.DefaultClient{ID: client}
	_, err := s.GetRefreshTokenSession(context.WithValue(ctx, fosite.AccessRequestContextKey, request), token, nil)
	return u, err
}

func rotate(t *testing.T, s *Store, token string) string {
	t.Helper()
	u, err := use(t, s, token, "app")
	if err != nil {
		t.Fatal(err)
	}
	next, err := u.issueRefresh()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestGraceCountsFromATokensOwnRotation(t *testing.T) {
	now := time.Now()
	s := newStore(t, func() time.Time { return now }, nil)
	first := family(t, s)
	second := rotate(t, s, first)
	now = now.Add(grace - time.Second)
	third := rotate(t, s, second)
	if again := rotate(t, s, first); again != third {
		t.Error("within its grace a rotated token gets another successor than the family's current one")
	}
	now = now.Add(2 * time.Second) // beyond first's grace, within second's
	if again := rotate(t, s, second); again != third {
		t.Error("the grace of the second token ended with that of the first")
	}
	u, err := use(t, s, first, "app")
	if !errors.Is(err, fosite.ErrInactiveToken) || !u.Reused() {
		t.Errorf("after its grace: %v", err)
	}
}

func TestAS61_AnotherClientSeesNothing(t *testing.T) {
	s := newStore(t, time.Now, nil)
	first := family(t, s)
	rotate(t, s, first)
	if u, err := use(t, s, first, "other"); !errors.Is(err, fosite.ErrNotFound) || u.Reused() {
		t.Errorf("another client: %v, reused %v", err, u.Reused())
	}
}

func TestRotationsAreBounded(t *testing.T) {
	s := newStore(t, time.Now, nil)
	token := family(t, s)
	for range maxRotations + 10 {
		token = rotate(t, s, token)
	}
	u, err := use(t, s, token, "app")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(u.Grant().Rotations); n != maxRotations {
		t.Errorf("%d rotations are kept, want %d", n, maxRotations)
	}
}

// TestLostReplies loses the reply to a Put that took effect, and to one that was
// refused because somebody else was first.
func TestLostReplies(t *testing.T) {
	lose := false
	lost := errors.Join(storage.ErrUnavailable, errors.New("lost"))
	s := newStore(t, time.Now, func(db storage.Store) storage.Store {
		return storetest.Faulty(db, func(op storetest.Op) error {
			if lose && op.Name == "Put" {
				return storetest.After(lost)
			}
			return nil
		})
	})
	prepare := func(token string) *Unit {
		u, err := use(t, s, token, "app")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.issueRefresh(); err != nil {
			t.Fatal(err)
		}
		return u
	}
	token := family(t, s)
	winner, loser := prepare(token), prepare(token)
	lose = true
	if err := winner.Commit(t.Context()); err != nil {
		t.Errorf("the winner, whose reply was lost: %v", err)
	}
	if err := loser.Commit(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("the loser, whose reply was lost: %v", err)
	}
	lose = false
	successor, err := loser.Rejoin(t.Context())
	current, err2 := winner.currentRefresh()
	if err != nil || err2 != nil || successor != current {
		t.Errorf("the loser's successor: %v, %v, the winner's: %v", err, successor == current, err2)
	}

	// The winner decided, lost its reply, and was overwritten before it could ask.
	token = current
	winner, loser = prepare(token), prepare(token)
	r, err := winner.grant.record(winner.prev, storage.NewVersion())
	if err != nil {
		t.Fatal(err)
	}
	winner.mark("mine")
	if r, err = winner.grant.record(winner.prev, r.Version); err != nil {
		t.Fatal(err)
	}
	if err := storage.Settle(t.Context(), s.records, r); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EndGrant(t.Context(), winner.grant.ID); err != nil {
		t.Fatal(err)
	}
	got, err := s.records.Get(t.Context(), winner.key())
	if err != nil {
		t.Fatal(err)
	}
	g, err := decodeGrant(got[0])
	if err != nil {
		t.Fatal(err)
	}
	if !winner.decided(g, "mine") || loser.decided(g, "theirs") {
		t.Error("the grant does not tell who rotated its token")
	}
}

// TestWhoEndedTheGrant loses the reply to a Put that ends a grant, and the answer to the
// first question about it: whoever asks again finds out whether it was them.
func TestWhoEndedTheGrant(t *testing.T) {
	lost := errors.Join(storage.ErrUnavailable, errors.New("lost"))
	losing := 0
	s := newStore(t, time.Now, func(db storage.Store) storage.Store {
		return storetest.Faulty(db, func(op storetest.Op) error {
			switch {
			case losing == 2 && op.Name == "Put":
				losing = 1
				return storetest.After(lost)
			case losing == 1 && op.Name == "Get":
				losing = 0
				return lost
			}
			return nil
		})
	})
	for name, c := range map[string]struct{ before, ours bool }{"it was alive": {false, true}, "it was ended before": {true, false}} {
		t.Run(name, func(t *testing.T) {
			for _, how := range []string{"Commit", "EndGrant"} {
				u, err := use(t, s, family(t, s), "app")
				if err != nil {
					t.Fatal(err)
				}
				u.Revoke()
				if c.before {
					if ended, err := s.EndGrant(t.Context(), u.grant.ID); err != nil || !ended {
						t.Fatalf("before: %t, %v", ended, err)
					}
				}
				losing = 2
				var ours bool
				if how == "Commit" {
					err = u.Commit(t.Context())
					ours = u.Ended()
				} else {
					ours, err = s.EndGrant(t.Context(), u.grant.ID)
				}
				losing = 0
				if err != nil || ours != c.ours {
					t.Errorf("%s: ended by us %t, want %t; %v", how, ours, c.ours, err)
				}
			}
		})
	}
}

func FuzzHandles(f *testing.F) {
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		s := &Store{}
		ring, err := secrets.New([]secrets.Secret{{ID: "k", Value: []byte("a secret of at least thirty-two bytes")}})
		if err != nil {
			t.Fatal(err)
		}
		s.secrets = ring
		if _, _, ok := s.ParseRefresh(token); ok {
			t.Errorf("%q was taken for a refresh token of ours", token)
		}
	})
}
