package users_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
	"github.com/lettergate/lettergate/provider/users"
)

// A schedule lets one store call at a time happen, of whichever actor the seed
// chooses. It may kill an actor, before or after a call takes effect, and let
// more than an hour pass. It runs in a synctest bubble.
type schedule struct {
	rand *rand.Rand
	mu   sync.Mutex
	gate map[int]chan error // the actors that wait for a call, by number
	dead map[int]bool
}

var errDead = fmt.Errorf("%w: the process has died", storage.ErrUnavailable)

// store returns the store that an actor sees.
func (s *schedule) store(actor int, under storage.Store) storage.Store {
	return storetest.Faulty(under, func(storetest.Op) error {
		turn := make(chan error)
		s.mu.Lock()
		if s.dead[actor] {
			s.mu.Unlock()
			return errDead
		}
		s.gate[actor] = turn
		s.mu.Unlock()
		return <-turn
	})
}

// run schedules until all actors have ended.
func (s *schedule) run(actors *int) {
	for {
		synctest.Wait() // now everybody waits for a turn or a timer, or has ended
		s.mu.Lock()
		if *actors == 0 {
			s.mu.Unlock()
			return
		}
		var waiting []int
		for actor := range 16 { // in one order, whatever the map's
			if s.gate[actor] != nil {
				waiting = append(waiting, actor)
			}
		}
		if len(waiting) == 0 {
			s.mu.Unlock()
			<-time.After(time.Millisecond) // somebody pauses after a conflict
			continue
		}
		actor := waiting[s.rand.IntN(len(waiting))]
		turn := s.gate[actor]
		delete(s.gate, actor)
		var fate error
		switch s.rand.IntN(40) {
		case 0:
			s.dead[actor], fate = true, errDead
		case 1:
			s.dead[actor], fate = true, storetest.After(errDead)
		case 2:
			fate = storetest.After(errDead) // only the answer is lost
		}
		stall := s.rand.IntN(60) == 0
		s.mu.Unlock()
		if stall {
			<-time.After(61 * time.Minute)
		}
		turn <- fate
	}
}

// world is what the actors of one round share, and what they were told.
type world struct {
	mu      sync.Mutex
	told    map[string]bool // subjects somebody was told of
	removed map[string]bool // subjects somebody began to remove
}

func (w *world) tell(u users.User, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.told[u.Subject] = true
	}
}

// act is one random deed of an actor.
func (w *world) act(ctx context.Context, d users.Directory, r *rand.Rand, actor int) {
	email := fmt.Sprint("e", r.IntN(3), "@example.com")
	username := []string{"", "n0", "n1"}[r.IntN(3)]
	subject := fmt.Sprint("s", actor)
	switch r.IntN(8) {
	case 0, 1, 2:
		w.tell(d.Create(ctx, person(subject, email, username)))
	case 3: // as another replica that repeats somebody's sign-up
		w.tell(d.Create(ctx, person(fmt.Sprint("s", r.IntN(6)), email, username)))
	case 4:
		w.tell(d.ByEmail(ctx, email))
	case 5:
		w.tell(d.ByUsername(ctx, "n0"))
	case 6:
		u, err := d.ByEmail(ctx, email)
		w.tell(u, err)
		if err != nil {
			return
		}
		u.EmailKey, u.Username = fmt.Sprint("e", r.IntN(3), "@example.com"), username
		u.Email = u.EmailKey
		w.tell(d.Update(ctx, u))
	case 7:
		if r.IntN(2) == 0 {
			return
		}
		u, err := d.ByEmail(ctx, email)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.removed[u.Subject] = true
		w.mu.Unlock()
		_ = d.Delete(ctx, u.Subject) // may fail as the actor dies
	}
}

// For any interleaving of sign-ups, sign-ins, changes and removals over few names,
// with processes dying and stalling at any call: who was told of an account keeps
// it until it is removed, no name leads to two accounts, and no name is stuck.
func TestAnyInterleaving(t *testing.T) {
	const rounds = 150
	synctest.Test(t, func(t *testing.T) {
		shared := openShared(t, time.Now)
		for seed := range uint64(rounds) {
			round(t, storage.Scope(shared, fmt.Sprint("round ", seed)), seed)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

func round(t *testing.T, s storage.Store, seed uint64) {
	ctx := t.Context()
	w := &world{told: map[string]bool{}, removed: map[string]bool{}}
	sched := &schedule{rand: rand.New(rand.NewPCG(seed, 1)), gate: map[int]chan error{}, dead: map[int]bool{}}
	actors := 5
	for actor := range actors {
		d := directory(t, sched.store(actor, s), time.Now)
		r := rand.New(rand.NewPCG(seed, uint64(actor)+2))
		go func() {
			for range 1 + r.IntN(3) {
				w.act(ctx, d, r, actor)
			}
			sched.mu.Lock()
			defer sched.mu.Unlock()
			actors--
		}()
	}
	sched.run(&actors)

	d := directory(t, s, time.Now)
	checkTold(t, d, w)
	checkWhole(t, d)
	// Every name that is nobody's can be had at once, but for a removal or sign-up
	// that its own subject has to repeat.
	for i := range 3 {
		if _, err := signIn(ctx, d, fmt.Sprint("new", i), fmt.Sprint("e", i, "@example.com"), ""); err != nil {
			t.Errorf("address %d is stuck: %v", i, err)
		}
	}
	for i := range 2 {
		name := fmt.Sprint("n", i)
		_, err := d.Create(ctx, person("owner-of-"+name, name+"@owner.example", name))
		if err == nil {
			continue
		}
		if u, found := d.ByUsername(ctx, name); !errors.Is(err, users.ErrUsernameTaken) || found != nil || u.Username != name {
			t.Errorf("username %s is stuck: %v, and leads to %v, %v", name, err, u, found)
		}
	}
	<-time.After(2 * time.Hour)
	checkTold(t, d, w)
	checkWhole(t, d)
}

func checkTold(t *testing.T, d users.Directory, w *world) {
	for subject := range w.told {
		if w.removed[subject] {
			continue
		}
		u, err := d.BySubject(t.Context(), subject)
		if err != nil {
			t.Errorf("%s was told of, and is gone: %v", subject, err)
			continue
		}
		if got, err := d.ByEmail(t.Context(), u.EmailKey); err != nil || got.Subject != subject {
			t.Errorf("%s is not found by its address: %+v, %v", subject, got, err)
		}
	}
}
