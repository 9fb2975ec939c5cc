package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lettergate/lettergate/provider/storage"
)

var groupChecks = []check{
	{"list an empty group", listEmpty},
	{"list in order", listOrder},
	{"list several groups", listSeveral},
	{"list returns whole records", listWhole},
	{"list until", listUntil},
	{"list page by page", listPages},
	{"list pages of equal sort", listEqualSorts},
	{"list refuses a bad page", listBadPage},
	{"a change of sort moves", sortMoves},
	{"groups are fixed", groupsFixed},
	{"groups with similar names", groupNames},
}

func listEmpty(t *suite) {
	t.put(record("a", "1", "elsewhere"))
	t.put(record("b", "1"))
	t.lists("nowhere", storage.Page{})
}

// sorted puts records with the given sorts into group g, named by their sort and
// a running number, and returns their ids in the order of the list.
func sorted(t *suite, sorts ...int64) []string {
	t.Helper()
	var all []storage.Record
	for i, sort := range sorts {
		r := record(fmt.Sprintf("%d-%04d", sort, i), "1", "g")
		r.Sort = sort
		all = append(all, t.put(r))
	}
	slices.SortFunc(all, func(a, b storage.Record) int {
		if a.Sort != b.Sort {
			return int(max(-1, min(1, a.Sort-b.Sort)))
		}
		return strings.Compare(a.Key.ID, b.Key.ID)
	})
	var ids []string
	for _, r := range all {
		ids = append(ids, r.Key.ID)
	}
	return ids
}

func listOrder(t *suite) {
	ids := sorted(t, 5, -3, 0, 1924992000000, 5, storage.MaxSort, -storage.MaxSort, 4, 10, 9, -10, storage.MaxSort-1)
	t.lists("g", storage.Page{}, ids...)

	// With one sort the kind decides, then the bytes of the id.
	for _, k := range []storage.Key{
		{Kind: storage.Session, ID: "a"}, {Kind: storage.Grant, ID: "b\x00"}, {Kind: storage.Grant, ID: "b"},
		{Kind: storage.Grant, ID: "B"}, {Kind: storage.Device, ID: "z"}, {Kind: storage.Grant, ID: "b\xff"},
	} {
		r := record("", "1", "keys")
		r.Key = k
		t.put(r)
	}
	t.lists("keys", storage.Page{}, "z", "B", "b", "b\x00", "b\xff", "a")
}

func listSeveral(t *suite) {
	t.put(record("a", "1", "g1", "g2", "g3", "g4"))
	t.put(record("b", "1", "g2"))
	t.put(record("c", "1", "g3", "g2"))
	t.lists("g1", storage.Page{}, "a")
	t.lists("g2", storage.Page{}, "a", "b", "c")
	t.lists("g3", storage.Page{}, "a", "c")
	t.lists("g4", storage.Page{}, "a")
}

func listWhole(t *suite) {
	r := record("a", "1", "g", "h")
	r.Sort, r.Expires = 42, t.clock.Now().AddDate(1, 0, 0)
	t.put(r)
	for _, r := range []storage.Record{r, t.put(next(r, "2"))} {
		if r.Prev.IsZero() {
			continue
		}
		r.Prev = storage.Version{}
		for _, got := range t.lists("g", storage.Page{}, "a") {
			t.same(got, r)
		}
	}
}

func listUntil(t *suite) {
	sorted(t, -5, 0, 3, 4)
	t.lists("g", storage.Page{Until: 3}, "-5-0000", "0-0001", "3-0002")
	t.lists("g", storage.Page{Until: -5}, "-5-0000")
	t.lists("g", storage.Page{Until: -6})
	t.lists("g", storage.Page{Until: 3, Limit: 1}, "-5-0000", "0-0001", "3-0002")
	t.lists("g", storage.Page{Until: 0}, "-5-0000", "0-0001", "3-0002", "4-0003")
}

func listPages(t *suite) {
	var sorts []int64
	for i := range int64(120) {
		sorts = append(sorts, i*37%120-60)
	}
	ids := sorted(t, sorts...)
	for _, limit := range []int{0, 1, 7, 60, 120, storage.MaxPage} {
		t.lists("g", storage.Page{Limit: limit}, ids...)
	}
	// A page begins where the one before ended, whatever happened to that place.
	first, after, err := t.s.List(t.Context(), "g", storage.Page{Limit: 10})
	if err != nil || after == "" {
		t.Fatalf("List = %d records, next %q, %v", len(first), after, err)
	}
	for _, r := range first {
		t.delete(r.Key)
	}
	t.lists("g", storage.Page{After: after, Limit: 10}, ids[len(first):]...)
}

func listEqualSorts(t *suite) {
	ids := sorted(t, slices.Repeat([]int64{-4, 9}, 25)...)
	for _, limit := range []int{1, 3, 25, 50} {
		t.lists("g", storage.Page{Limit: limit}, ids...)
		t.lists("g", storage.Page{Limit: limit, Until: -4}, ids[:25]...)
	}
}

func listBadPage(t *suite) {
	for name, page := range map[string]storage.Page{
		"negative limit": {Limit: -1},
		"limit too high": {Limit: storage.MaxPage + 1},
		"made-up place":  {After: "nowhere / at all"},
	} {
		if _, _, err := t.s.List(t.Context(), "g", page); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("List with a %s = %v, want ErrInvalid", name, err)
		}
	}
}

func sortMoves(t *suite) {
	for i, id := range []string{"a", "b", "c"} {
		r := record(id, "1", "g", "h")
		r.Sort = int64(10 * (i + 1))
		t.put(r)
	}
	r := t.get(storage.Key{Kind: storage.Grant, ID: "a"})[0]
	for _, move := range []struct {
		sort int64
		want []string
	}{
		{25, []string{"b", "a", "c"}}, {99, []string{"b", "c", "a"}}, {-1, []string{"a", "b", "c"}},
		{-1, []string{"a", "b", "c"}}, {20, []string{"a", "b", "c"}}, {30, []string{"b", "a", "c"}},
	} {
		r = next(r, "moved")
		r.Sort = move.sort
		t.put(r)
		for _, limit := range []int{0, 1} {
			t.lists("g", storage.Page{Limit: limit}, move.want...)
			t.lists("h", storage.Page{Limit: limit}, move.want...)
		}
		r.Prev = storage.Version{}
		t.holds(r)
	}
	t.delete(r.Key)
	t.lists("g", storage.Page{}, "b", "c")
}

func groupsFixed(t *suite) {
	r := t.put(record("a", "1", "g1", "g2"))
	for _, groups := range [][]string{nil, {"g1"}, {"g1", "g3"}, {"g2", "g1"}, {"g1", "g2", "g3"}} {
		other := next(r, "2")
		other.Groups = groups
		t.refused(other, storage.ErrInvalid)
	}
	t.holds(r)
	t.lists("g1", storage.Page{}, "a")
	t.lists("g2", storage.Page{}, "a")
	t.lists("g3", storage.Page{})
}

func groupNames(t *suite) {
	names := []string{"g", "g/", "g/a", "G", "g\x00", "g\x00a", "{g}", "g*", "g:1", "グループ", "\xff\xfe", fill(storage.MaxIDBytes + t.slack)}
	for i, name := range names {
		t.put(record(fmt.Sprint("in-", i), "1", name))
	}
	for i, name := range names {
		t.lists(name, storage.Page{}, fmt.Sprint("in-", i))
	}
}
