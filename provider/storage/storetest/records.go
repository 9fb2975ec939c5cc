package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var recordChecks = []check{
	{"get absent", getAbsent},
	{"get present", getPresent},
	{"get many in order", getMany},
	{"get one key many times", getRepeated},
	{"get at most MaxKeys", getTooMany},
	{"put needs the version it replaces", putVersions},
	{"put into nothing needs zero Prev", putIntoNothing},
	{"put again succeeds", putAgain},
	{"put again after a successor conflicts", putAgainLate},
	{"a version never returns", noABA},
	{"versions are compared whole", versionsWhole},
	{"delete", deletes},
	{"a deleted record is made anew", madeAnew},
	{"empty value", emptyValue},
	{"no groups", noGroups},
	{"ping", pings},
}

func getAbsent(t *suite) {
	t.absent(t.key(storage.Grant, "nobody"))
}

func getPresent(t *suite) {
	r := t.record("a", "value", "g1", "g2")
	r.Sort = -7
	r.Expires = t.in(90*time.Minute + 3*time.Millisecond)
	t.holds(t.put(r))
}

func getMany(t *suite) {
	var keys []storage.Key
	var want []storage.Record
	for i := range storage.MaxKeys - 2 {
		r := t.record(fmt.Sprintf("id-%d", 37*i%storage.MaxKeys), fmt.Sprint("value ", i))
		r.Key.Kind = []storage.Kind{storage.Session, storage.Grant, storage.User}[i%3]
		keys = append(keys, r.Key)
		if i%4 == 0 {
			r = storage.Record{} // asked for, and absent
		} else {
			t.put(r)
		}
		want = append(want, r)
	}
	// The same key may be asked for twice.
	keys, want = append(keys, keys[1], keys[0]), append(want, want[1], want[0])
	for i, got := range t.get(keys...) {
		if err := differ(got, want[i]); err != nil {
			t.Errorf("place %d: %v", i, err)
		}
	}
	if got, err := t.s.Get(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Get of no keys = %d records, %v", len(got), err)
	}
}

func getRepeated(t *suite) {
	r := t.put(t.record("a", "value", "g"))
	got := t.get(slices.Repeat([]storage.Key{r.Key}, storage.MaxKeys)...)
	for i := range got {
		t.same(got[i], r)
		// Each belongs to the caller, with all of its memory.
		_ = append(got[i].Value, "more"...)
		got[i].Value[0], got[i].Groups[0] = 'X', "X"
	}
	for _, absent := range t.get(slices.Repeat([]storage.Key{t.key(storage.Grant, "b")}, storage.MaxKeys)...) {
		t.same(absent, storage.Record{})
	}
}

func getTooMany(t *suite) {
	keys := make([]storage.Key, storage.MaxKeys+1)
	for i := range keys {
		keys[i] = t.key(storage.Grant, fmt.Sprint(i))
	}
	t.get(keys[:storage.MaxKeys]...)
	if _, err := t.s.Get(t.Context(), keys...); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Get of MaxKeys+1 = %v, want ErrInvalid", err)
	}
	same := slices.Repeat(keys[:1], storage.MaxKeys+1)
	if _, err := t.s.Get(t.Context(), same...); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Get of one key MaxKeys+1 times = %v, want ErrInvalid", err)
	}
}

func putVersions(t *suite) {
	r1 := t.put(t.record("a", "1"))
	r2 := t.put(next(r1, "2"))
	t.holds(r2)

	t.refused(next(r1, "other"), storage.ErrConflict)      // its version is gone
	t.refused(t.record("a", "other"), storage.ErrConflict) // there is something
	stranger := next(r2, "other")
	stranger.Prev = storage.NewVersion()
	t.refused(stranger, storage.ErrConflict)
	t.holds(r2)
}

func putIntoNothing(t *suite) {
	r := t.record("a", "1", "g")
	r.Prev = storage.NewVersion()
	t.refused(r, storage.ErrConflict)
	t.absent(r.Key)
	t.lists("g", storage.Page{})
}

func putAgain(t *suite) {
	r1 := t.put(t.record("a", "1", "g"))
	t.put(r1)
	t.holds(r1)

	r2 := t.put(next(r1, "2"))
	t.put(r2)
	changed := r2
	changed.Value = []byte("the version decides, not the value")
	changed.Sort, changed.Expires = 5, t.in(time.Second)
	t.put(changed)
	changed.Prev = storage.NewVersion()
	t.put(changed)
	changed.Groups = t.record("", "", "h").Groups
	t.put(changed)
	t.holds(r2)
	for _, got := range t.lists("g", storage.Page{}, "a") {
		t.same(got, r2)
	}
	t.lists("h", storage.Page{})
}

func putAgainLate(t *suite) {
	r1 := t.put(t.record("a", "1"))
	r2 := t.put(next(r1, "2"))
	r3 := t.put(next(r2, "3"))
	t.refused(r1, storage.ErrConflict)
	t.refused(r2, storage.ErrConflict)
	t.holds(r3)
}

func noABA(t *suite) {
	r1 := t.put(t.record("a", "same"))
	late := next(r1, "late")
	t.delete(r1.Key)
	t.refused(late, storage.ErrConflict)
	again := t.put(t.record("a", "same")) // the same value under another version
	t.refused(late, storage.ErrConflict)
	t.holds(again)
}

// versionsWhole uses versions that are nearly the same, or no text.
func versionsWhole(t *suite) {
	r := t.record("a", "1")
	versions := []storage.Version{
		{15: 1}, {0: 1}, {7: 1}, {8: 1}, {0: 1, 15: 1}, {0: '\n', 15: '\n'}, {0: ' ', 15: ' '}, {0: 0xff, 15: 0xff},
		storage.Version([]byte("0123456789abcdef")), storage.Version([]byte("0123456789ABCDEF")), {14: 1},
	}
	r.Prev = storage.Version{}
	for i, v := range versions {
		r.Version = v
		t.put(r)
		t.holds(read(r))
		for _, wrong := range slices.Concat(versions[:i], versions[i+1:]) {
			late := next(r, "late")
			late.Prev = wrong
			t.refused(late, storage.ErrConflict)
		}
		r.Prev = v
	}
}

func deletes(t *suite) {
	r := t.put(t.record("a", "1", "g1", "g2"))
	other := t.put(t.record("b", "1", "g2"))
	t.delete(r.Key)
	t.absent(r.Key)
	t.delete(r.Key) // removing nothing is no error
	t.delete(t.key(storage.User, "nobody"))
	t.lists("g1", storage.Page{})
	t.lists("g2", storage.Page{}, "b")
	t.refused(next(r, "2"), storage.ErrConflict)

	t.put(t.record("a", "3", "g2")) // a new record, in other groups
	t.lists("g1", storage.Page{})
	t.lists("g2", storage.Page{}, "a", "b")
	t.holds(other)
}

// madeAnew deletes a record and makes it again, elsewhere each time.
func madeAnew(t *suite) {
	all := []string{"g0", "g1", "g2"}
	for i := range 12 {
		r := t.record("a", fmt.Sprint(i), all[i%3:][:1]...)
		if i%4 == 3 {
			r.Groups = t.record("", "", all...).Groups
		}
		r.Sort = int64(5 - i*7%11)
		t.put(r)
		moved := next(r, "moved")
		moved.Sort = int64(i*5%11 - 5)
		r = read(t.put(moved))
		t.holds(r)
		for j, g := range all {
			times := 0
			if i%4 == 3 || i%3 == j {
				times = 1
			}
			t.listed(t.names+g, r, times)
		}
		t.delete(r.Key)
		for _, g := range all {
			t.lists(g, storage.Page{})
		}
	}
}

func emptyValue(t *suite) {
	r := t.record("a", "")
	r.Value = nil
	t.put(r)
	t.holds(r)
	r = t.put(next(r, "something"))
	t.holds(read(t.put(next(r, ""))))
}

// noGroups: nil and empty are the same groups.
func noGroups(t *suite) {
	r := t.put(t.record("a", "1"))
	for i, groups := range [][]string{{}, nil, {}} {
		r = next(r, fmt.Sprint(i))
		r.Groups = groups
		t.put(r)
		t.holds(read(r))
	}
	r = next(r, "in a group")
	r.Groups = t.record("", "", "g").Groups
	t.refused(r, storage.ErrInvalid)
}

func pings(t *suite) {
	if err := t.s.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}
