package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Deletes that race with what they delete.
var deleteRaceChecks = []check{
	{"racing deletes and replacements", raceDeleteReplace},
	{"racing deletes and creations", raceDeleteCreate},
	{"racing deletes and adds", raceDeleteAdd},
}

// raceDeleteReplace: whether a Delete is before a replacing Put, which then
// conflicts, or behind it, the record is gone in the end.
func raceDeleteReplace(t *suite) {
	for round := range 2 * rounds {
		r := t.put(t.record(fmt.Sprint("round-", round), "1", "g", "h"))
		var won atomic.Int64
		errs := make([]error, racers/4)
		together(len(errs), func(i int) {
			if i == 0 || i%4 == 0 && round%2 == 0 {
				errs[i] = t.s.Delete(t.Context(), r.Key)
				return
			}
			successor := next(r, fmt.Sprint("racer ", i))
			successor.Sort = int64(i)
			err := t.s.Put(t.Context(), successor)
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, storage.ErrConflict) {
				errs[i] = err
			}
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if won.Load() > 1 {
			t.Fatalf("round %d: %d replacements of one version", round, won.Load())
		}
		t.absent(r.Key)
		t.lists("g", storage.Page{})
		t.lists("h", storage.Page{})
	}
}

// raceDeleteCreate: what is there in the end, if anything, is what one of the
// winners put, in its groups and in no other.
func raceDeleteCreate(t *suite) {
	for round := range rounds {
		id := fmt.Sprint("round-", round%3)
		versions := make([]storage.Version, racers/4)
		errs := make([]error, len(versions))
		together(len(versions), func(i int) {
			r := t.record(id, fmt.Sprint(i), "g", fmt.Sprint("h", i%3))
			r.Sort = int64(i % 5)
			if i%3 == 0 {
				errs[i] = t.s.Delete(t.Context(), r.Key)
				return
			}
			err := t.s.Put(t.Context(), r)
			if err == nil {
				versions[i] = r.Version
			} else if !errors.Is(err, storage.ErrConflict) {
				errs[i] = err
			}
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		got := t.get(t.key(storage.Grant, id))[0]
		if !got.IsZero() && !slices.Contains(versions, got.Version) {
			t.Fatalf("round %d: a record is there whose Put was refused", round)
		}
		want := got
		if got.IsZero() {
			want = t.record(id, "")
		}
		for _, g := range t.record("", "", "g", "h0", "h1", "h2").Groups {
			times := 0
			if slices.Contains(got.Groups, g) {
				times = 1
			}
			t.listed(g, want, times)
		}
		// Nothing that was refused or deleted is in the way of what comes next.
		t.delete(want.Key)
		again := t.record(id, "again", "h1")
		again.Sort = 3
		t.put(again)
		t.lists("h1", storage.Page{}, id)
		t.lists("g", storage.Page{})
		t.delete(again.Key)
		t.lists("h1", storage.Page{})
	}
}

// raceDeleteAdd: between two deletions a counter counts from 1 without a gap.
func raceDeleteAdd(t *suite) {
	const deletes = 4
	var remove []func()
	key := t.counter("a")
	for range deletes {
		remove = append(remove, func() {
			if err := t.s.Delete(t.Context(), key); err != nil {
				t.Errorf("Delete: %v", err)
			}
		})
	}
	t.rounds(rounds, func(round int) bool {
		told, ok := t.raceAdds(key, time.Hour, remove...)
		last := t.add(key, 0, 0)
		t.delete(key)
		if !ok {
			return false
		}
		times := map[int64]int{}
		for _, n := range told {
			times[n]++
		}
		// As many runs reach n as there are who were told n; one of them is the last,
		// unless a deletion was.
		sound := last == 0 || times[last] > times[last+1]
		for n := range int64(racers) {
			sound = sound && times[n+1] >= times[n+2]
		}
		if !sound || times[1] < 1 || times[1] > deletes+1 {
			t.Fatalf("round %d: with %d deletions the racers were told %v, and in the end %d", round, deletes, told, last)
		}
		return true
	})
}
