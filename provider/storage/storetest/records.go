package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var recordChecks = []check{
	{"get absent", getAbsent},
	{"get present", getPresent},
	{"get many in order", getMany},
	{"get at most MaxKeys", getTooMany},
	{"put needs the version it replaces", putVersions},
	{"put into nothing needs zero Prev", putIntoNothing},
	{"put again succeeds", putAgain},
	{"put again after a successor conflicts", putAgainLate},
	{"a version never returns", noABA},
	{"expired is absent", expired},
	{"expired is replaced with zero Prev", replaceExpired},
	{"expiry may change", changeExpiry},
	{"never expires", neverExpires},
	{"put what has expired", putExpired},
	{"delete", deletes},
	{"empty value", emptyValue},
	{"ping", pings},
	{"closed", closed},
}

func getAbsent(t *suite) {
	t.absent(storage.Key{Kind: storage.Grant, ID: "nobody"})
}

func getPresent(t *suite) {
	r := record("a", "value", "g1", "g2")
	r.Sort = -7
	r.Expires = t.clock.Now().Add(90 * time.Minute).Add(3 * time.Millisecond)
	t.holds(t.put(r))
}

func getMany(t *suite) {
	var keys []storage.Key
	var want []storage.Record
	for i := range storage.MaxKeys - 2 {
		r := record(fmt.Sprintf("id-%d", 37*i%storage.MaxKeys), fmt.Sprint("value ", i))
		r.Key.Kind = []storage.Kind{storage.Session, storage.Grant}[i%2]
		keys = append(keys, r.Key)
		if i%3 == 0 {
			r = storage.Record{} // asked for, and absent
		} else {
			t.put(r)
		}
		want = append(want, r)
	}
	// The same key may be asked for twice.
	keys, want = append(keys, keys[1], keys[0]), append(want, want[1], want[0])
	for i, got := range t.get(keys...) {
		if want[i].IsZero() && !got.IsZero() {
			t.Errorf("place %d holds %v, want nothing", i, got.Key)
		} else if !want[i].IsZero() {
			t.same(got, want[i])
		}
	}
	if got, err := t.s.Get(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Get of no keys = %d records, %v", len(got), err)
	}
}

func getTooMany(t *suite) {
	keys := make([]storage.Key, storage.MaxKeys+1)
	for i := range keys {
		keys[i] = storage.Key{Kind: storage.Grant, ID: fmt.Sprint(i)}
	}
	t.get(keys[:storage.MaxKeys]...)
	if _, err := t.s.Get(t.Context(), keys...); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Get of MaxKeys+1 = %v, want ErrInvalid", err)
	}
}

func putVersions(t *suite) {
	r1 := t.put(record("a", "1"))
	r2 := t.put(next(r1, "2"))
	t.holds(r2)

	t.refused(next(r1, "other"), storage.ErrConflict)    // its version is gone
	t.refused(record("a", "other"), storage.ErrConflict) // there is something
	stranger := next(r2, "other")
	stranger.Prev = storage.NewVersion()
	t.refused(stranger, storage.ErrConflict)
	t.holds(r2)
}

func putIntoNothing(t *suite) {
	r := record("a", "1")
	r.Prev = storage.NewVersion()
	t.refused(r, storage.ErrConflict)
	t.absent(r.Key)
}

func putAgain(t *suite) {
	r1 := t.put(record("a", "1", "g"))
	t.put(r1)
	t.holds(r1)

	r2 := t.put(next(r1, "2"))
	t.put(r2)
	changed := r2
	changed.Value = []byte("the version decides, not the value")
	t.put(changed)
	t.holds(r2)
	t.lists("g", storage.Page{}, "a")
}

func putAgainLate(t *suite) {
	r1 := t.put(record("a", "1"))
	r2 := t.put(next(r1, "2"))
	r3 := t.put(next(r2, "3"))
	t.refused(r1, storage.ErrConflict)
	t.refused(r2, storage.ErrConflict)
	t.holds(r3)
}

func noABA(t *suite) {
	r1 := t.put(record("a", "same"))
	late := next(r1, "late")
	t.delete(r1.Key)
	t.refused(late, storage.ErrConflict)
	again := t.put(record("a", "same")) // the same value under another version
	t.refused(late, storage.ErrConflict)
	t.holds(again)
}

func expired(t *suite) {
	r := record("a", "1", "g")
	r.Expires = t.clock.Now().Add(time.Minute)
	t.put(r)
	t.clock.advance(time.Minute - time.Millisecond)
	t.holds(r)
	t.lists("g", storage.Page{}, "a")
	t.clock.advance(time.Millisecond) // at its expiry a record is expired
	t.absent(r.Key)
	t.lists("g", storage.Page{})
	t.clock.advance(24 * time.Hour)
	t.absent(r.Key)
	t.lists("g", storage.Page{})
	t.delete(r.Key)
}

func replaceExpired(t *suite) {
	r := record("a", "1", "old", "both")
	r.Expires = t.clock.Now().Add(time.Minute)
	t.put(r)
	t.clock.advance(time.Minute)
	t.refused(next(r, "its version counts for nothing now"), storage.ErrConflict)
	t.absent(r.Key)

	fresh := record("a", "2", "both", "new") // it is a new record, groups included
	fresh.Sort = 5
	t.holds(t.put(fresh))
	t.lists("old", storage.Page{})
	t.lists("both", storage.Page{}, "a")
	t.lists("new", storage.Page{}, "a")
}

func changeExpiry(t *suite) {
	r := record("a", "1", "g")
	r.Expires = t.clock.Now().Add(time.Minute)
	t.put(r)
	longer := next(r, "2")
	longer.Expires = r.Expires.Add(time.Hour)
	t.put(longer)
	t.clock.advance(30 * time.Minute)
	t.holds(longer)

	forever := next(longer, "3")
	forever.Expires = time.Time{}
	t.put(forever)
	t.clock.advance(1000 * time.Hour)
	t.holds(forever)
	t.lists("g", storage.Page{}, "a")

	shorter := next(forever, "4")
	shorter.Expires = t.clock.Now().Add(time.Second)
	t.put(shorter)
	t.clock.advance(time.Second)
	t.absent(r.Key)
}

func neverExpires(t *suite) {
	r := t.put(record("a", "1"))
	t.clock.advance(50 * 365 * 24 * time.Hour)
	t.holds(r)
}

func putExpired(t *suite) {
	r := t.put(record("a", "1", "g"))
	gone := next(r, "2")
	gone.Expires = t.clock.Now().Add(-time.Second)
	t.put(gone)
	t.absent(r.Key)
	t.lists("g", storage.Page{})
}

func deletes(t *suite) {
	r := t.put(record("a", "1", "g1", "g2"))
	other := t.put(record("b", "1", "g2"))
	t.delete(r.Key)
	t.absent(r.Key)
	t.delete(r.Key) // removing nothing is no error
	t.lists("g1", storage.Page{})
	t.lists("g2", storage.Page{}, "b")
	t.refused(next(r, "2"), storage.ErrConflict)

	t.put(record("a", "3", "g2")) // a new record, in other groups
	t.lists("g1", storage.Page{})
	t.lists("g2", storage.Page{}, "a", "b")
	t.holds(other)
}

func emptyValue(t *suite) {
	r := record("a", "")
	r.Value = nil
	t.put(r)
	t.holds(r)
	r = next(r, "something")
	t.put(r)
	t.holds(t.put(next(r, "")))
}

func pings(t *suite) {
	if err := t.s.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

func closed(t *suite) {
	r := t.put(record("a", "1", "g"))
	if err := t.s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for name, call := range calls(t.s, r) {
		if err := call(t.Context()); err == nil {
			t.Errorf("%s after Close succeeded", name)
		}
	}
}
