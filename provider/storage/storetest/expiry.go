package storetest

import (
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var expiryChecks = []check{
	{"expired is absent", expired},
	{"expired is replaced with zero Prev", replaceExpired},
	{"expiry may change", changeExpiry},
	{"expiry changes many times", changeExpiryOften},
	{"expiry is kept to the millisecond", expiryPrecision},
	{"expiry may be far", expiryFar},
	{"never expires", neverExpires},
	{"put what has expired", putExpired},
	{"the expired take nobody along", expiredAlone},
}

func expired(t *suite) {
	r := t.record("a", "1", "g")
	r.Expires = t.in(time.Minute)
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
	r := t.record("a", "1", "old", "both")
	r.Expires = t.in(time.Minute)
	t.put(r)
	t.clock.advance(time.Minute)
	t.refused(next(r, "its version counts for nothing now"), storage.ErrConflict)
	t.absent(r.Key)

	fresh := t.record("a", "2", "both", "new") // it is a new record, groups included
	fresh.Sort = 5
	t.holds(t.put(fresh))
	t.lists("old", storage.Page{})
	t.lists("both", storage.Page{}, "a")
	t.lists("new", storage.Page{}, "a")
	t.refused(r, storage.ErrConflict) // resent long after
	t.holds(fresh)
}

func changeExpiry(t *suite) {
	r := t.record("a", "1", "g")
	r.Expires = t.in(time.Minute)
	t.put(r)
	longer := next(r, "2")
	longer.Expires = r.Expires.Add(time.Hour)
	t.put(longer)
	t.clock.advance(30 * time.Minute)
	t.holds(read(longer))

	forever := next(longer, "3")
	forever.Expires = time.Time{}
	t.put(forever)
	t.clock.advance(1000 * time.Hour)
	t.holds(read(forever))
	t.lists("g", storage.Page{}, "a")

	shorter := next(forever, "4")
	shorter.Expires = t.in(time.Second)
	t.put(shorter)
	t.clock.advance(time.Second)
	t.absent(r.Key)
}

// changeExpiryOften moves the expiry of two records that share a group to and fro,
// each of them sometimes dead and made anew. Whatever the engine does to collect a
// group as a whole, the group has who lives.
func changeExpiryOften(t *suite) {
	const never = 0
	both := []storage.Record{t.record("a", "", "g", "of a"), t.record("b", "", "g", "of b")}
	for i := range both {
		both[i].Version = storage.Version{}
	}
	check := func() {
		t.Helper()
		for i, r := range both {
			times := 1
			if r.IsZero() || !r.Expires.IsZero() && !t.clock.Now().Before(r.Expires) {
				times = 0
				both[i].Version = storage.Version{} // the next one is new
				t.absent(r.Key)
			} else {
				t.holds(read(r))
			}
			for _, group := range r.Groups {
				t.listed(group, read(r), times)
			}
		}
	}
	for round, lives := range [][2]time.Duration{
		{never, time.Minute}, {time.Minute, never}, {time.Hour, 100 * time.Hour}, {100 * time.Hour, time.Minute},
		{never, never}, {time.Minute, 10 * time.Minute}, {time.Minute, time.Hour}, {never, -time.Hour}, {2 * time.Hour, never},
		{time.Hour, time.Minute}, {24 * time.Hour, 2 * time.Hour}, {100 * time.Hour, -time.Minute}, {time.Minute, never},
	} {
		for i := range both {
			r := next(both[i], fmt.Sprint(round))
			r.Sort, r.Expires = int64(round%3*i), time.Time{}
			if lives[i] != never {
				r.Expires = t.in(lives[i])
			}
			both[i] = t.put(r)
			check()
		}
		t.clock.advance(50 * time.Minute)
		check()
	}
	t.clock.advance(1000 * time.Hour)
	check()
}

func expiryPrecision(t *suite) {
	r := t.record("a", "1", "g")
	given := t.in(time.Minute + 999_999*time.Nanosecond)
	r.Expires = given
	t.put(r)
	got := t.get(r.Key)[0].Expires
	if got.Nanosecond()%int(time.Millisecond) != 0 || got.After(given.Add(time.Millisecond)) || got.Before(given.Add(-time.Millisecond)) {
		t.Fatalf("Expires %v was kept as %v, want whole milliseconds", given, got)
	}
	for _, listed := range t.lists("g", storage.Page{}, "a") {
		if !listed.Expires.Equal(got) {
			t.Errorf("Expires is %v in List and %v in Get", listed.Expires, got)
		}
	}
	t.clock.advance(got.Add(-time.Millisecond).Sub(t.clock.Now()))
	t.lists("g", storage.Page{}, "a")
	t.clock.advance(time.Millisecond)
	t.absent(r.Key)
	t.lists("g", storage.Page{})
}

func expiryFar(t *suite) {
	far := t.record("far", "1", "g")
	far.Expires = time.Date(9999, 12, 31, 23, 59, 59, int(999*time.Millisecond), time.UTC)
	t.put(far)
	past := t.record("past", "1", "g")
	past.Expires = time.Date(1, 1, 1, 0, 0, 0, int(time.Millisecond), time.UTC) // nearly the zero time
	t.put(past)
	epoch := t.record("epoch", "1", "g")
	epoch.Expires = time.UnixMilli(0)
	t.put(epoch)
	t.holds(far)
	t.absent(past.Key)
	t.absent(epoch.Key)
	t.lists("g", storage.Page{}, "far")
}

func neverExpires(t *suite) {
	r := t.put(t.record("a", "1", "g"))
	t.clock.advance(50 * 365 * 24 * time.Hour)
	t.holds(r)
	t.lists("g", storage.Page{}, "a")
}

func putExpired(t *suite) {
	r := t.put(t.record("a", "1", "g"))
	gone := next(r, "2")
	gone.Expires = t.in(-time.Second)
	t.put(gone)
	t.absent(r.Key)
	t.lists("g", storage.Page{})

	// As if it had never been.
	t.refused(next(gone, "3"), storage.ErrConflict)
	born := t.record("b", "1", "g")
	born.Expires = t.in(0)
	t.put(born)
	t.absent(born.Key)
	for _, id := range []string{"a", "b"} {
		t.holds(t.put(t.record(id, "again", "g", "h")))
	}
	t.lists("g", storage.Page{}, "a", "b")
	t.lists("h", storage.Page{}, "a", "b")
}

// expiredAlone puts records that expired long ago beside others that live.
func expiredAlone(t *suite) {
	forever := t.put(t.record("forever", "1", "g"))
	hour := t.record("hour", "1", "g")
	hour.Expires = t.in(time.Hour)
	t.put(hour)
	for _, ago := range []time.Duration{time.Millisecond, time.Minute, time.Hour, 1000 * time.Hour} {
		dead := t.record("dead", "1", "g")
		dead.Expires = t.in(-ago)
		t.put(dead)
		killed := t.record("killed", "1", "g")
		killed = t.put(killed)
		killed = next(killed, "2")
		killed.Expires = t.in(-ago)
		t.put(killed)
		t.lists("g", storage.Page{}, "forever", "hour")
		t.holds(forever)
		t.holds(hour)
	}
}
