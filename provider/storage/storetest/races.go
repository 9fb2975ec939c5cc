package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

const (
	racers = 64
	rounds = 20
)

var raceChecks = []check{
	{"racing puts have one winner", racePut},
	{"racing adds lose nothing", raceAdd},
	{"racing updates lose nothing", raceUpdate},
	{"a record is read whole", raceGet},
	{"a list misses nothing", raceList},
}

// together runs n calls that begin at the same time, and waits for all.
func together(n int, call func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			call(i)
		})
	}
	close(start)
	wg.Wait()
}

func racePut(t *suite) {
	base := record("a", "base", "g")
	for round := range rounds {
		// Odd rounds race to replace a record, even ones to make it.
		if round%2 == 0 {
			base = record(fmt.Sprint("round-", round), "base", "g")
			base.Version = storage.Version{}
		}
		versions := make([]storage.Version, racers)
		errs := make([]error, racers)
		together(racers, func(i int) {
			r := next(base, fmt.Sprint("racer ", i))
			r.Sort = int64(i)
			versions[i] = r.Version
			errs[i] = t.s.Put(t.Context(), r)
		})
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: racers %d and %d both won", round, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, storage.ErrConflict):
				t.Fatalf("round %d: racer %d: %v, want ErrConflict", round, i, err)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		base = t.get(base.Key)[0]
		if base.Version != versions[winner] || string(base.Value) != fmt.Sprint("racer ", winner) || base.Sort != int64(winner) {
			t.Fatalf("round %d: racer %d won, but %q is stored", round, winner, base.Value)
		}
	}
	if got, err := walk(t.Context(), t.s, "g", storage.Page{}); err != nil || len(got) != rounds/2 {
		t.Errorf("List after the races = %d records, %v; want %d", len(got), err, rounds/2)
	}
}

func raceAdd(t *suite) {
	for round := range rounds {
		key := counterKey(fmt.Sprint("round-", round))
		got := make([]int64, racers)
		errs := make([]error, racers)
		together(racers, func(i int) { got[i], errs[i] = t.s.Add(t.Context(), key, 1, time.Hour) })
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("Add: %v", err)
		}
		slices.Sort(got)
		for i, n := range got {
			if n != int64(i+1) {
				t.Fatalf("round %d: the racers were told %v", round, got)
			}
		}
		t.counts(key, 0, time.Hour, racers)
	}
}

func raceUpdate(t *suite) {
	const callers, times = 8, 8
	key := storage.Key{Kind: storage.User, ID: "a"}
	var done atomic.Int64
	together(callers, func(int) {
		for range times {
			_, err := storage.Update(t.Context(), t.s, key, func(cur storage.Record) (storage.Record, error) {
				n, _ := strconv.Atoi(string(cur.Value)) // 0 when absent
				return storage.Record{Value: []byte(strconv.Itoa(n + 1)), Groups: []string{"g"}, Sort: int64(n)}, nil
			})
			switch {
			case err == nil:
				done.Add(1)
			case !errors.Is(err, storage.ErrConflict): // it may give up, but says so
				t.Errorf("Update: %v", err)
			}
		}
	})
	if got := string(t.get(key)[0].Value); got != fmt.Sprint(done.Load()) {
		t.Errorf("%d updates were acknowledged, %s are stored", done.Load(), got)
	}
	if done.Load() < callers*times/2 {
		t.Errorf("only %d of %d updates succeeded", done.Load(), callers*times)
	}
	t.lists("g", storage.Page{}, "a")
}

// raceGet replaces a record while others read it: a value always comes with its
// own version, sort and expiry.
func raceGet(t *suite) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	state := func(r storage.Record, n int64) storage.Record {
		r = next(r, "")
		r.Value = bytes.Repeat(r.Version[:], 500)
		r.Sort, r.Expires = n, t.clock.Now().Add(time.Duration(n+1)*time.Hour)
		return r
	}
	whole := func(r storage.Record) {
		if !bytes.Equal(r.Value, bytes.Repeat(r.Version[:], 500)) || !r.Expires.Equal(t.clock.Now().Add(time.Duration(r.Sort+1)*time.Hour)) {
			t.Errorf("a mixture of two states was read")
			stop.Store(true)
		}
	}
	r := record("a", "", "g")
	r.Version = storage.Version{}
	r = t.put(state(r, 0))
	key := r.Key
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				got, err := t.s.Get(t.Context(), key)
				if err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				whole(got[0])
				listed, _, err := t.s.List(t.Context(), "g", storage.Page{})
				if err != nil {
					t.Errorf("List: %v", err)
					return
				}
				for _, l := range listed {
					whole(l)
				}
			}
		})
	}
	for n := range int64(200) {
		r = state(r, n)
		if err := t.s.Put(t.Context(), r); err != nil {
			t.Errorf("Put: %v", err)
			break
		}
	}
	stop.Store(true)
	wg.Wait()
}

// raceList walks a group while others fill it and move what is in it. What was
// acknowledged before the walk, and stays where it is, is found once.
func raceList(t *suite) {
	const writers, each = 4, 60
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var writing, walking sync.WaitGroup
	var stop atomic.Bool
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				r := record(fmt.Sprintf("%d-%d", w, i), "1", "g")
				r.Sort = int64(i * 37 % each)
				mover := record(fmt.Sprintf("mover-%d-%d", w, i), "1", "g")
				moved := next(mover, "2")
				moved.Sort = int64(each - i)
				for _, put := range []storage.Record{mover, r, moved} {
					if err := t.s.Put(t.Context(), put); err != nil {
						t.Errorf("Put: %v", err)
						return
					}
				}
				mu.Lock()
				acknowledged[r.Key.ID] = true
				mu.Unlock()
			}
		})
	}
	for reader := range 2 {
		walking.Go(func() {
			for last := false; !last; {
				last = stop.Load() // once more after the last write
				mu.Lock()
				want := make(map[string]bool, len(acknowledged))
				for id := range acknowledged {
					want[id] = true
				}
				mu.Unlock()
				got, err := walk(t.Context(), t.s, "g", storage.Page{Limit: 10 + 90*reader})
				if err != nil {
					t.Errorf("List: %v", err)
					return
				}
				for _, r := range got {
					delete(want, r.Key.ID)
				}
				if len(want) > 0 {
					t.Errorf("a walk missed %d of the records that were acknowledged before it", len(want))
					return
				}
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	walking.Wait()
}
