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

const racers = 64

var raceChecks = []check{
	{"racing puts have one winner", racePut},
	{"racing puts replace the expired", raceExpired},
	{"racing resends all succeed", raceResend},
	{"racing puts into other groups", raceGroups},
	{"racing adds lose nothing", raceAdd},
	{"racing adds meet the end of a life", raceAddWindow},
	{"racing updates lose nothing", raceUpdate},
	{"a record is read whole", raceGet},
	{"a list misses nothing", raceList},
	{"a list misses nothing that is replaced", raceReplaced},
	{"a list misses nothing that comes back", raceComesBack},
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

// oneWinner races Puts of what made returns, and returns the one that won. The
// others get ErrConflict.
func (t *suite) oneWinner(made func(i int) storage.Record) storage.Record {
	t.Helper()
	records := make([]storage.Record, racers)
	errs := make([]error, racers)
	for i := range records {
		records[i] = made(i)
	}
	together(racers, func(i int) { errs[i] = t.s.Put(t.Context(), records[i]) })
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("racers %d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, storage.ErrConflict):
			t.Fatalf("racer %d: %v, want ErrConflict", i, err)
		}
	}
	if winner < 0 {
		t.Fatalf("nobody won")
	}
	won := read(records[winner])
	t.holds(won)
	return won
}

func racePut(t *suite) {
	var base storage.Record
	for round := range rounds {
		// Odd rounds race to replace a record, even ones to make it.
		if round%2 == 0 {
			base = t.record(fmt.Sprint("round-", round), "base", "g")
			base.Version = storage.Version{}
		}
		base = t.oneWinner(func(i int) storage.Record {
			r := next(base, fmt.Sprint("racer ", i))
			r.Sort = int64(i)
			return r
		})
		t.listed(base.Groups[0], base, 1)
	}
	if got, err := t.walk(t.names+"g", storage.Page{}); err != nil || len(got) != rounds/2 {
		t.Errorf("List after the races = %d records, %v; want %d", len(got), err, rounds/2)
	}
}

func raceExpired(t *suite) {
	r := t.record("a", "base", "g", "old")
	for range rounds {
		r.Expires, r.Prev, r.Version = t.in(time.Minute), storage.Version{}, storage.NewVersion()
		t.put(r)
		t.clock.advance(time.Minute)
		won := t.oneWinner(func(i int) storage.Record {
			r := t.record("a", fmt.Sprint("racer ", i), "g")
			r.Sort = int64(i)
			r.Expires = t.in(time.Hour)
			return r
		})
		t.listed(t.names+"g", won, 1)
		t.lists("old", storage.Page{})
		t.delete(won.Key)
	}
}

// raceResend sends one Put many times at once, as a client library does that has
// lost the reply and cannot know what became of it.
func raceResend(t *suite) {
	r := t.record("a", "1", "g")
	r.Prev, r.Version = storage.Version{}, storage.Version{}
	for round := range rounds {
		r = next(r, fmt.Sprint(round))
		r.Sort = int64(round % 3)
		errs := make([]error, racers)
		together(racers, func(i int) { errs[i] = t.s.Put(t.Context(), r) })
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		r = read(r)
		t.holds(r)
		t.listed(r.Groups[0], r, 1)
	}
}

// raceGroups makes one record in many groups at once. It is in those of the winner.
func raceGroups(t *suite) {
	for round := range rounds / 4 {
		won := t.oneWinner(func(i int) storage.Record {
			r := t.record(fmt.Sprint("round-", round), "1", fmt.Sprint("g", i%16), fmt.Sprint("h", i))
			r.Sort = int64(i)
			return r
		})
		for i := range racers {
			for _, g := range t.record("", "", fmt.Sprint("g", i%16), fmt.Sprint("h", i)).Groups {
				times := 0
				if slices.Contains(won.Groups, g) {
					times = 1
				}
				t.listed(g, won, times)
			}
		}
	}
}

// rounds runs rounds of a race until enough of them had a verdict. One in which a
// call got no answer has none.
func (t *suite) rounds(n int, race func(round int) (verdict bool)) {
	t.Helper()
	for round, verdicts := 0, 0; verdicts < n; round++ {
		if race(round) {
			verdicts++
		} else if round > n {
			t.Fatalf("in %d of %d rounds a call got no answer", round+1-verdicts, round+1)
		}
	}
}

// raceAdds races Adds of 1 and returns what they were told, sorted; false when one
// got no answer.
func (t *suite) raceAdds(key storage.Key, life time.Duration, beside ...func()) ([]int64, bool) {
	t.Helper()
	told := make([]int64, racers)
	errs := make([]error, racers)
	together(racers+len(beside), func(i int) {
		if i < racers {
			told[i], errs[i] = t.s.Add(t.Context(), key, 1, life)
		} else {
			beside[i-racers]()
		}
	})
	answered := true
	for _, err := range errs {
		if err != nil && !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("Add: %v", err)
		}
		answered = answered && err == nil
	}
	slices.Sort(told)
	return told, answered
}

func raceAdd(t *suite) {
	t.rounds(rounds, func(round int) bool {
		key := t.counter(fmt.Sprint("round-", round))
		told, ok := t.raceAdds(key, time.Hour)
		for i, n := range told {
			if ok && n != int64(i+1) {
				t.Fatalf("round %d: the racers were told %v", round, told)
			}
		}
		if last := t.add(key, 0, 0); last > racers || ok && last != racers {
			t.Fatalf("round %d: %d racers have made it %d", round, racers, last)
		}
		return ok
	})
}

// raceAddWindow has racers add when the life of a counter ends: each counts in the
// old life or in the new one.
func raceAddWindow(t *suite) {
	const before = 10
	t.rounds(rounds, func(round int) bool {
		key := t.counter(fmt.Sprint("round-", round))
		t.counts(key, before, time.Minute, before)
		t.clock.advance(time.Minute - time.Millisecond)
		told, ok := t.raceAdds(key, time.Minute, func() { t.clock.advance(time.Millisecond) })
		last := t.add(key, 0, 0)
		// So many of the racers were in the new life, and the others before.
		var want []int64
		for n := range last {
			want = append(want, n+1)
		}
		for n := range racers - last {
			want = append(want, before+n+1)
		}
		slices.Sort(want)
		if ok && !slices.Equal(told, want) {
			t.Fatalf("round %d: the new life ended at %d, and the racers were told %v", round, last, told)
		}
		return ok
	})
}

func raceUpdate(t *suite) {
	const callers, times = 8, 8
	key := t.key(storage.User, "a")
	var done atomic.Int64
	together(callers, func(int) {
		for range times {
			_, err := storage.Update(t.Context(), t.s, key, func(cur storage.Record) (storage.Record, error) {
				n, _ := strconv.Atoi(string(cur.Value)) // 0 when absent
				return storage.Record{Value: []byte(strconv.Itoa(n + 1)), Groups: t.record("", "", "g").Groups, Sort: int64(n)}, nil
			})
			switch {
			case err == nil:
				done.Add(1)
			case !errors.Is(err, storage.ErrConflict): // it may give up, but says so
				t.Errorf("Update: %v", err)
			}
		}
	})
	r := t.get(key)[0]
	if got := string(r.Value); got != fmt.Sprint(done.Load()) {
		t.Errorf("%d updates were acknowledged, %s are stored", done.Load(), got)
	}
	if done.Load() < callers*times/2 {
		t.Errorf("only %d of %d updates succeeded", done.Load(), callers*times)
	}
	t.listed(t.names+"g", r, 1)
}

// raceGet replaces a record while others read it: a value always comes with its
// own version, sort and expiry.
func raceGet(t *suite) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	start := t.in(0)
	state := func(r storage.Record, n int64) storage.Record {
		r = next(r, "")
		r.Value = bytes.Repeat(r.Version[:], 500)
		r.Sort, r.Expires = n, start.Add(time.Duration(n+1)*time.Hour)
		return r
	}
	whole := func(records []storage.Record, err error) bool {
		for _, r := range records {
			if !bytes.Equal(r.Value, bytes.Repeat(r.Version[:], 500)) || !r.Expires.Equal(start.Add(time.Duration(r.Sort+1)*time.Hour)) {
				err = errors.New("a mixture of two states")
			}
		}
		if err != nil {
			t.Errorf("read during writes: %v", err)
		}
		return err == nil
	}
	r := t.record("a", "", "g")
	r.Version = storage.Version{}
	r = t.put(state(r, 0))
	key, group := r.Key, r.Groups[0]
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				got, err := t.s.Get(t.Context(), key, key)
				if !whole(got, err) {
					return
				}
				listed, _, err := t.page(t.Context(), group, storage.Page{})
				if !whole(listed, err) {
					return
				}
			}
		})
	}
	for n := range int64(10 * rounds) {
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
	acknowledged := map[storage.Key]bool{}
	var writing, walking sync.WaitGroup
	var stop atomic.Bool
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				r := t.record(fmt.Sprintf("%d-%d", w, i), "1", "g")
				r.Sort = int64(i * 37 % each)
				mover := t.record(fmt.Sprintf("mover-%d-%d", w, i), "1", "g")
				moved := next(mover, "2")
				moved.Sort = int64(each - i)
				for _, put := range []storage.Record{mover, r, moved} {
					if err := t.s.Put(t.Context(), put); err != nil {
						t.Errorf("Put: %v", err)
						return
					}
				}
				mu.Lock()
				acknowledged[r.Key] = true
				mu.Unlock()
			}
		})
	}
	for reader := range 2 {
		walking.Go(func() {
			for last := false; !last; {
				last = stop.Load() // once more after the last write
				mu.Lock()
				want := make(map[storage.Key]int, len(acknowledged))
				for key := range acknowledged {
					want[key] = 1
				}
				mu.Unlock()
				got, err := t.walk(t.names+"g", storage.Page{Limit: 10 + 90*reader})
				if err != nil {
					t.Errorf("List: %v", err)
					return
				}
				for _, r := range got {
					if n, ok := want[r.Key]; ok {
						want[r.Key] = n - 1
					}
				}
				for key, n := range want {
					if n != 0 {
						t.Errorf("a walk found %.60q, which was there before it, %d times", key, 1-n)
						return
					}
				}
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	walking.Wait()
}

// raceReplaced replaces records that stay where they are while others list them.
func raceReplaced(t *suite) {
	const writers = 4
	var stop atomic.Bool
	var writing, walking sync.WaitGroup
	var want []storage.Key
	for w := range writers {
		r := t.record(fmt.Sprint("writer-", w), "", "g", "h")
		r.Sort = int64(w / 2)
		want = append(want, t.put(r).Key)
		writing.Go(func() {
			for n := range 5 * rounds {
				r = next(r, fmt.Sprint(n))
				r.Expires = t.in(time.Duration(n+1) * time.Hour)
				if err := t.s.Put(t.Context(), r); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
			}
		})
	}
	for i, group := range t.record("", "", "g", "h").Groups {
		walking.Go(func() {
			for !stop.Load() {
				listed, err := t.walk(group, storage.Page{Limit: 1 + 4*i})
				var got []storage.Key
				for _, r := range listed {
					got = append(got, r.Key)
				}
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("a walk during replacements found %.60q, %v; want %.60q", got, err, want)
					return
				}
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	walking.Wait()
}

// raceComesBack makes and deletes records of the same keys over and over while
// others walk their group, and may collect what they find dangling there. Whoever
// has made one sees it at once.
func raceComesBack(t *suite) {
	var writing, walking sync.WaitGroup
	var stop atomic.Bool
	for w := range 4 {
		writing.Go(func() {
			for i := range 2 * rounds {
				r := t.record(fmt.Sprint("writer-", w), fmt.Sprint(i), "g", fmt.Sprint("of-", w))
				r.Sort = int64(i % 2) // most come back to the very place
				if err := t.s.Put(t.Context(), r); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				for _, group := range r.Groups {
					listed, err := t.walk(group, storage.Page{})
					n := 0
					for _, l := range listed {
						if l.Key == r.Key && l.Version == r.Version {
							n++
						}
					}
					if err != nil || n != 1 {
						t.Errorf("round %d: a record that was just made is listed %d times, %v", i, n, err)
						return
					}
				}
				if err := t.s.Delete(t.Context(), r.Key); err != nil {
					t.Errorf("Delete: %v", err)
					return
				}
			}
		})
	}
	for range 2 {
		walking.Go(func() {
			for !stop.Load() {
				if _, err := t.walk(t.names+"g", storage.Page{Limit: 3}); err != nil {
					t.Errorf("List: %v", err)
					return
				}
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	walking.Wait()
	t.lists("g", storage.Page{})
}
