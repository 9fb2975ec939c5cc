package storetest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var pageChecks = []check{
	{"list until", listUntil},
	{"list page by page", listPages},
	{"list the largest page", listLargest},
	{"list pages of equal sort", listEqualSorts},
	{"a page begins behind what is gone", listBehindGone},
	{"pages pass over the expired", listPassesExpired},
	{"list refuses a bad page", listBadPage},
	{"list refuses a made-up place", listBadPlace},
}

// Beneath a Scope, a caller has only the places that it was given.
var placeChecks = []check{
	{"a page begins behind any place", listBehind},
}

func listUntil(t *suite) {
	sorted(t, -5, 0, 3, 4)
	all := []string{"-5-0000", "0-0001", "3-0002", "4-0003"}
	for _, limit := range []int{0, 1, 2} {
		for until, n := range map[int64]int{
			3: 3, -5: 1, -6: 0, 2: 2, -1: 1, 4: 4, 0: 4, // 0 is no bound
			storage.MaxSort: 4, -storage.MaxSort: 0, math.MaxInt64: 4, math.MinInt64: 0,
		} {
			t.lists("g", storage.Page{Until: until, Limit: limit}, all[:n]...)
		}
	}
	// The bound of a later page may be another.
	_, after := t.firstPage("g", storage.Page{Until: 3, Limit: 1})
	t.lists("g", storage.Page{After: after}, all[1:]...)
	t.lists("g", storage.Page{After: after, Until: 3}, all[1:3]...)
	t.lists("g", storage.Page{After: after, Until: -5})
	t.lists("g", storage.Page{After: after, Until: -storage.MaxSort})
}

// firstPage returns the first page that is not empty, though an engine may begin
// with some that are, and how many records it has. There must be more behind it.
func (t *suite) firstPage(group string, page storage.Page) (n int, next string) {
	t.Helper()
	for range 100 {
		got, next, err := t.page(t.Context(), t.names+group, page)
		if err != nil || next == "" {
			t.Fatalf("List = %d records, next %q, %v", len(got), next, err)
		}
		if len(got) > 0 {
			return len(got), next
		}
		page.After = next
	}
	t.Fatal("List returns nothing but empty pages")
	return 0, ""
}

func listPages(t *suite) {
	var sorts []int64
	for i := range int64(120) {
		sorts = append(sorts, i*37%120-60)
	}
	ids := sorted(t, sorts...)
	for _, limit := range []int{0, 1, 7, 60, 119, 120, 121, storage.MaxPage} {
		t.lists("g", storage.Page{Limit: limit}, ids...)
	}
}

func listLargest(t *suite) {
	var sorts []int64
	for i := range int64(storage.MaxPage + 1) {
		sorts = append(sorts, i*7%11)
	}
	ids := sorted(t, sorts...)
	t.lists("g", storage.Page{Limit: storage.MaxPage}, ids...)
	t.lists("g", storage.Page{}, ids...)
}

// listEqualSorts has many records at few sorts: what orders them is kind and id.
func listEqualSorts(t *suite) {
	var all []storage.Record
	for i := range 40 {
		for _, id := range []string{"", "\x00", "\x00\x00", "\xff", "/", "a", "é", "\x01\xfe"} {
			r := t.record(fmt.Sprint("id-", i%10)+id, "1", "g")
			r.Key.Kind = []storage.Kind{storage.User, storage.Grant, storage.Username, storage.Epoch}[i/10]
			r.Sort = int64(i % 2 * 5)
			all = append(all, r)
		}
	}
	t.putAll(all)
	all = inPlaceOrder(all)
	for _, page := range []storage.Page{
		{Limit: 3}, {Limit: 80}, {Limit: storage.MaxPage}, {Limit: 7, Until: 4}, {Until: 5, Limit: 159}, {Limit: 160},
	} {
		want := all
		if page.Until == 4 {
			want = all[:len(all)/2]
		}
		got, err := t.walk(t.names+"g", page)
		if err != nil {
			t.Fatalf("List %+v: %v", page, err)
		}
		if i := firstDifference(got, want); i >= 0 {
			t.Errorf("List %+v found %d records, want %d; the first difference is at place %d", page, len(got), len(want), i)
		}
	}
}

// firstDifference returns the first place where the keys differ, -1 if they do not.
func firstDifference(got, want []storage.Record) int {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i].Key != want[i].Key {
			return i
		}
	}
	return -1
}

// listBehind begins pages at places where no record is or ever was.
func listBehind(t *suite) {
	var all []storage.Record
	for i, id := range []string{"a", "b", "b\x00", "b\xff", "c"} {
		for _, kind := range []storage.Kind{storage.Grant, storage.User, storage.Username} {
			r := t.record(id, "1", "g")
			r.Key.Kind, r.Sort = kind, int64(i%3-1)
			all = append(all, r)
		}
	}
	t.putAll(all)
	all = inPlaceOrder(all)
	for _, sort := range []int64{math.MinInt64, -storage.MaxSort, -2, -1, 0, 1, 2, storage.MaxSort, math.MaxInt64} {
		for _, kind := range []storage.Kind{storage.Client, storage.Grant, storage.Outbox, storage.User, storage.Username, storage.Verification} {
			for _, id := range []string{"\x00", t.names + "a", t.names + "b", t.names + "b\x00\x00", t.names + "bb", "\xff"} {
				place := storage.Cursor{Sort: sort, Kind: kind, ID: id}
				want := slices.DeleteFunc(slices.Clone(all), func(r storage.Record) bool { return storage.CursorOf(r).Compare(place) <= 0 })
				got, err := t.walk(t.names+"g", storage.Page{After: place.String(), Limit: 8})
				if err != nil {
					t.Fatalf("List behind %.80q: %v", fmt.Sprint(place), err)
				}
				if i := firstDifference(got, want); i >= 0 {
					t.Fatalf("behind %.80q are %d records, want %d; the first difference is at place %d", fmt.Sprintf("%+v", place), len(got), len(want), i)
				}
			}
		}
	}
}

// listBehindGone goes on where a page ended, whatever happened to that place.
func listBehindGone(t *suite) {
	ids := sorted(t, slices.Concat(slices.Repeat([]int64{-4, 9}, 10), []int64{1, 2, 3, 4, 5})...)
	n, after := t.firstPage("g", storage.Page{Limit: 6})
	last := t.get(t.key(storage.Grant, ids[n-1]))[0]

	moved := next(last, "moved to the end")
	moved.Sort = 100
	t.put(moved)
	rest := slices.Concat(ids[n:], ids[n-1:n])
	t.lists("g", storage.Page{After: after, Limit: 6}, rest...)

	moved = next(moved, "moved to the front")
	moved.Sort = -100
	t.put(moved)
	t.lists("g", storage.Page{After: after, Limit: 6}, ids[n:]...)

	t.delete(last.Key)
	t.lists("g", storage.Page{After: after, Limit: 6}, ids[n:]...)
	dead := t.get(t.key(storage.Grant, ids[0]))[0]
	if n > 1 {
		dead = next(dead, "expired")
		dead.Expires = t.in(-time.Second)
		t.put(dead)
	}
	for _, id := range ids[:n] {
		t.delete(t.key(storage.Grant, id))
	}
	t.lists("g", storage.Page{After: after, Limit: 1}, ids[n:]...)
	for _, id := range ids[n:] {
		t.delete(t.key(storage.Grant, id))
	}
	t.lists("g", storage.Page{After: after})
}

// listPassesExpired walks past many records that are expired and not collected.
func listPassesExpired(t *suite) {
	var dead []storage.Record
	for i := range 60 {
		r := t.record(fmt.Sprintf("dead-%02d", i), "1", "g")
		r.Sort, r.Expires = int64(i%20), t.in(time.Minute)
		dead = append(dead, r)
	}
	t.putAll(dead)
	ids := sorted(t, -1, 7, 7, 30, 31)
	t.clock.advance(time.Minute)
	for _, page := range []storage.Page{{}, {Limit: 1}, {Limit: 3}, {Limit: 10}, {Limit: 60}} {
		t.lists("g", page, ids...)
		page.Until = 20
		t.lists("g", page, ids[:3]...)
	}
}

func listBadPage(t *suite) {
	for name, page := range map[string]storage.Page{
		"negative limit":     {Limit: -1},
		"limit too high":     {Limit: storage.MaxPage + 1},
		"limit far too high": {Limit: math.MaxInt},
		"made-up place":      {After: "nowhere / at all"},
	} {
		if _, _, err := t.s.List(t.Context(), t.names+"g", page); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("List with a %s = %v, want ErrInvalid", name, err)
		}
	}
}

// listBadPlace begins a page at what no store returns.
func listBadPlace(t *suite) {
	good := storage.Cursor{Sort: 1, Kind: storage.Grant, ID: "an id"}.String()
	text := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	sort := strings.Repeat("\x00", 8)
	for _, after := range []string{
		" ", "0", "-", "*", "[a", "(1", "+inf", "\x00", "\xff", "a", good + "=", good + "\n", "\n" + good, good[:4] + "\r\n" + good[4:],
		good + " ", " " + good, strings.ToUpper(good), good[:len(good)-1] + "!", text(sort), text(sort[1:] + "grant\x00id"),
		text(sort + "grant"), text(sort + "grant\x00"), text(sort + "\x00id"), text(sort + "nonsense\x00id"), text(sort + "Grant\x00id"),
		text(sort + "grant/id"), text(sort + "grant\x00" + fill(storage.MaxIDBytes+storage.Slack+1)),
		base64.StdEncoding.EncodeToString([]byte(sort + "grant\x00\xfb\xef\xff")), `'; DROP TABLE records; --`, fill(1 << 16),
	} {
		if _, err := storage.ParseCursor(after); err == nil {
			t.Fatalf("the check begins at %.40q, which is a place", after)
		}
		if _, _, err := t.s.List(t.Context(), t.names+"g", storage.Page{After: after}); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("List behind %.40q = %v, want ErrInvalid", after, err)
		}
	}
	t.lists("g", storage.Page{After: good})
}
