package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var groupChecks = []check{
	{"list an empty group", listEmpty},
	{"list in order", listOrder},
	{"list several groups", listSeveral},
	{"list returns whole records", listWhole},
	{"list several kinds", listKinds},
	{"a change of sort moves", sortMoves},
	{"a record moved often is listed once", sortMovesOften},
	{"groups are fixed", groupsFixed},
	{"the version is judged before the groups", groupsJudgedLast},
	{"a refused put leaves the groups alone", refusedAlone},
	{"only garbage is collected", collectsGarbage},
}

func listEmpty(t *suite) {
	t.put(t.record("a", "1", "elsewhere"))
	t.put(t.record("b", "1"))
	t.lists("nowhere", storage.Page{})
}

// sorted puts records with the given sorts into group g, named by their sort and
// a running number, and returns their ids in the order of the list.
func sorted(t *suite, sorts ...int64) []string {
	t.Helper()
	var all []storage.Record
	ids := map[storage.Key]string{}
	for i, sort := range sorts {
		id := fmt.Sprintf("%d-%04d", sort, i)
		r := t.record(id, "1", "g")
		r.Sort = sort
		all = append(all, r)
		ids[r.Key] = id
	}
	t.putAll(all)
	var inOrder []string
	for _, r := range inPlaceOrder(all) {
		inOrder = append(inOrder, ids[r.Key])
	}
	return inOrder
}

func listOrder(t *suite) {
	ids := sorted(t, 5, -3, 0, 1924992000000, 5, storage.MaxSort, -storage.MaxSort, 4, 10, 9, -10, storage.MaxSort-1,
		1-storage.MaxSort, 1<<31, 1<<32, 1<<24+1, 1<<24, -1<<31-1, -1<<24-1, -1<<24)
	t.lists("g", storage.Page{}, ids...)

	// With one sort the kind decides, then the bytes of the id.
	for _, k := range []storage.Key{
		t.key(storage.Session, "a"), t.key(storage.Grant, "b\x00"), t.key(storage.Grant, "b"),
		t.key(storage.Grant, "B"), t.key(storage.Device, "z"), t.key(storage.Grant, "b\xff"),
	} {
		r := t.record("", "1", "keys")
		r.Key = k
		t.put(r)
	}
	t.lists("keys", storage.Page{}, "z", "B", "b", "b\x00", "b\xff", "a")
}

func listSeveral(t *suite) {
	t.put(t.record("a", "1", "g1", "g2", "g3", "g4"))
	t.put(t.record("b", "1", "g2"))
	t.put(t.record("c", "1", "g3", "g2"))
	t.lists("g1", storage.Page{}, "a")
	t.lists("g2", storage.Page{}, "a", "b", "c")
	t.lists("g3", storage.Page{}, "a", "c")
	t.lists("g4", storage.Page{}, "a")
}

func listWhole(t *suite) {
	r := t.record("a", "1", "g", "h")
	r.Sort, r.Expires = 42, t.in(365*24*time.Hour)
	t.put(r)
	for range 3 {
		for _, got := range t.lists("g", storage.Page{}, "a") {
			t.same(got, r)
		}
		t.holds(r)
		r = read(t.put(next(r, "another")))
	}
}

// listKinds has one id in every kind, all in one group.
func listKinds(t *suite) {
	var all []storage.Record
	for i, kind := range recordKinds() {
		r := t.record("a", string(kind), "g")
		r.Key.Kind, r.Sort = kind, int64(i%3)
		all = append(all, r)
	}
	t.putAll(all)
	for _, limit := range []int{0, 1, 4} {
		got := t.lists("g", storage.Page{Limit: limit}, slices.Repeat([]string{"a"}, len(all))...)
		for i, want := range inPlaceOrder(all)[:min(len(all), len(got))] {
			t.same(got[i], want)
		}
	}
}

// recordKinds is every kind but Counter.
func recordKinds() []storage.Kind {
	return []storage.Kind{
		storage.User, storage.Email, storage.Username, storage.Consent, storage.Client, storage.Keys,
		storage.Grant, storage.Session, storage.Verification, storage.Outbox, storage.Revoked,
		storage.Device, storage.Replay, storage.Lease, storage.Epoch,
	}
}

func sortMoves(t *suite) {
	for i, id := range []string{"a", "b", "c"} {
		r := t.record(id, "1", "g", "h")
		r.Sort = int64(10 * (i + 1))
		t.put(r)
	}
	r := t.get(t.key(storage.Grant, "a"))[0]
	for _, move := range []struct {
		sort int64
		want []string
	}{
		{25, []string{"b", "a", "c"}}, {99, []string{"b", "c", "a"}}, {-1, []string{"a", "b", "c"}},
		{-1, []string{"a", "b", "c"}}, {20, []string{"a", "b", "c"}}, {30, []string{"b", "a", "c"}},
		{-storage.MaxSort, []string{"a", "b", "c"}}, {storage.MaxSort, []string{"b", "c", "a"}},
	} {
		r = next(r, "moved")
		r.Sort = move.sort
		t.put(r)
		for _, limit := range []int{0, 1} {
			t.lists("g", storage.Page{Limit: limit}, move.want...)
			t.lists("h", storage.Page{Limit: limit}, move.want...)
		}
		t.holds(read(r))
	}
	t.delete(r.Key)
	t.lists("g", storage.Page{}, "b", "c")
}

func sortMovesOften(t *suite) {
	for _, sort := range []int64{-50, 0, 50} {
		r := t.record(fmt.Sprint("stays at ", sort), "1", "g")
		r.Sort = sort
		t.put(r)
	}
	r := t.put(t.record("moves", "1", "g", "h"))
	for i := range int64(100) {
		r = next(r, "moved")
		r.Sort = i*37%100 - 50
		t.put(r)
	}
	r = read(r)
	for _, g := range r.Groups {
		t.listed(g, r, 1)
	}
	want := []string{"stays at -50", "stays at 0", "moves", "stays at 50"} // its last Sort is 13
	t.lists("g", storage.Page{Limit: 1}, want...)
	t.lists("g", storage.Page{Until: 13}, want[:3]...)
	t.lists("g", storage.Page{Until: 12}, want[:2]...)
	t.delete(r.Key)
	t.lists("h", storage.Page{})
	t.lists("g", storage.Page{}, "stays at -50", "stays at 0", "stays at 50")
}

func groupsFixed(t *suite) {
	r := t.put(t.record("a", "1", "g1", "g2"))
	for _, groups := range [][]string{nil, {"g1"}, {"g1", "g3"}, {"g2", "g1"}, {"g1", "g2", "g3"}} {
		other := next(r, "2")
		other.Groups = t.record("", "", groups...).Groups
		t.refused(other, storage.ErrInvalid)
	}
	t.holds(r)
	t.lists("g1", storage.Page{}, "a")
	t.lists("g2", storage.Page{}, "a")
	t.lists("g3", storage.Page{})
}

// groupsJudgedLast: a writer who is late learns that, and reads again; not that the
// groups are wrong, which they may not be by then.
func groupsJudgedLast(t *suite) {
	r := t.put(t.record("a", "1", "old"))
	late := next(r, "late")
	t.delete(r.Key)
	t.refused(late, storage.ErrConflict)
	fresh := t.put(t.record("a", "2", "new"))
	t.refused(late, storage.ErrConflict)
	t.refused(t.record("a", "3", "other"), storage.ErrConflict)
	t.holds(fresh)
	t.lists("old", storage.Page{})
	t.lists("other", storage.Page{})
	t.lists("new", storage.Page{}, "a")
}

// refusedAlone refuses Puts that would have moved a record, or put it elsewhere.
func refusedAlone(t *suite) {
	r := t.record("a", "1", "g", "h")
	r.Sort, r.Expires = 5, t.in(time.Hour)
	t.put(r)
	other := t.record("b", "1", "g")
	other.Sort = 7
	t.put(other)
	for i, sort := range []int64{-9, 5, 9} {
		stale := next(r, "stale")
		stale.Prev, stale.Sort, stale.Expires = storage.NewVersion(), sort, t.in(-time.Second)
		t.refused(stale, storage.ErrConflict)
		born := t.record("a", "born", "g", "elsewhere")
		born.Sort = sort
		t.refused(born, storage.ErrConflict)
		moved := next(r, "moved")
		moved.Sort, moved.Groups = sort, t.record("", "", "g", "elsewhere").Groups
		t.refused(moved, storage.ErrInvalid)
		unborn := t.record("c", "unborn", "g", "elsewhere")
		unborn.Sort, unborn.Prev = sort, storage.NewVersion()
		t.refused(unborn, storage.ErrConflict)

		t.holds(r)
		t.lists("g", storage.Page{Limit: i}, "a", "b")
		t.lists("h", storage.Page{}, "a")
		t.lists("elsewhere", storage.Page{})
		t.listed(r.Groups[0], r, 1)
	}
	// And what was refused does not come back with a later record of that key.
	t.delete(r.Key)
	t.lists("g", storage.Page{}, "b")
	again := t.record("a", "again", "h")
	again.Sort = 9
	t.put(again)
	t.put(t.record("c", "at last"))
	t.lists("g", storage.Page{}, "b")
	t.lists("h", storage.Page{}, "a")
	t.lists("elsewhere", storage.Page{})
}

// collectsGarbage has a group full of what was deleted, expired, moved and refused,
// some of which comes back, and lets an engine that collects such things do so.
func collectsGarbage(t *suite) {
	records := make([]storage.Record, 48)
	for i := range records {
		r := t.record(fmt.Sprintf("%02d", i), "1", "g")
		r.Sort = int64(i % 5)
		if i%4 == 1 {
			r.Expires = t.in(30 * time.Minute)
		}
		records[i] = r
	}
	t.putAll(records)
	for round := range 8 {
		for i, r := range records {
			switch {
			case i%4 == 2 && round%2 == 0:
				t.delete(r.Key)
			case i%4 == 2: // is back
				r.Version = storage.NewVersion()
				records[i] = t.put(r)
			case i%4 == 3: // moves
				r = next(r, fmt.Sprint(round))
				r.Sort = int64((i + round) % 5)
				records[i] = t.put(r)
				stale := next(r, "stale")
				stale.Prev, stale.Sort = storage.NewVersion(), 9
				t.refused(stale, storage.ErrConflict)
			case i%8 == 1 && round%3 == 2: // is back, for a while
				r.Version, r.Expires = storage.NewVersion(), t.in(50*time.Minute)
				if !t.get(r.Key)[0].IsZero() {
					t.delete(r.Key)
				}
				records[i] = t.put(r)
			}
		}
		for range 2 {
			var want []string
			for _, r := range inPlaceOrder(records) {
				if !t.get(r.Key)[0].IsZero() {
					want = append(want, r.Key.ID[len(t.names):])
				}
			}
			t.lists("g", storage.Page{Limit: 1 + 9*round}, want...)
			t.lists("g", storage.Page{}, want...)
			t.clock.advance(11 * time.Minute)
		}
	}
}
