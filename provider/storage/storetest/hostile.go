package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// What is said about names, with the names as they are.
var hostileChecks = []check{
	{"hostile ids", hostileIDs},
	{"kinds do not collide", kindsApart},
	{"groups with similar names", groupNames},
	{"groups and ids are apart", groupsAndIDs},
	{"four groups of long names", longGroups},
	{"limits", limits},
	{"a clock far in the past", clockInThePast},
}

func hostileIDs(t *suite) {
	ids := []string{
		"a", "a/b", "a/", "/a", "a//b", "A", "á", "a\u0301", " a", "a ", "a\x00", "a\x00b", "\x00", "\x00a",
		"{a}", "a{b}", "{}", "{", "}", "{}a", "*", "a*", "?", "[a]", "[", "(", "-", "+", "a:b", ":", "%", "a%00", "_", "'", `"`, `\`, "--", ";",
		"\r\n", "\n", "\xff", "\xff\xfe", "\xff\xff", "a\xc3", "\u202e", "🔑", "NULL", "0", "-1", "1e3", "grant/a", "../a", "a.b", "$1", "@a", "~",
		fill(storage.MaxIDBytes), fill(storage.MaxIDBytes-1) + "y", strings.Repeat("\x00", storage.MaxIDBytes), strings.Repeat("é", storage.MaxIDBytes/2),
	}
	var all []storage.Record
	for _, id := range ids {
		all = append(all, t.put(record(id, "value of "+id, "g")))
		t.counts(counterKey(id), int64(len(all)), time.Hour, int64(len(all)))
	}
	for i, r := range all {
		t.holds(r)
		t.counts(counterKey(r.Key.ID), 0, time.Hour, int64(i+1))
	}
	slices.Sort(ids)
	t.lists("g", storage.Page{Limit: 3}, ids...)
	for i, r := range all {
		t.delete(r.Key)
		t.absent(r.Key)
		t.counts(counterKey(r.Key.ID), 0, time.Hour, int64(i+1))
		for _, other := range all[i+1:] {
			if other.Key == r.Key {
				t.Fatalf("id %q is twice in the test", r.Key.ID)
			}
		}
	}
	t.lists("g", storage.Page{})
}

func kindsApart(t *suite) {
	var all []storage.Record
	for _, kind := range recordKinds() {
		for _, id := range []string{"x", "/x", "name/x", "grant/x"} {
			r := record(id, string(kind)+" of "+id, "kinds/"+id)
			r.Key.Kind = kind
			all = append(all, t.put(r))
		}
	}
	t.counts(counterKey("x"), 3, time.Hour, 3)
	for _, r := range all {
		t.holds(r)
	}
	t.lists("kinds/x", storage.Page{}, slices.Repeat([]string{"x"}, len(recordKinds()))...)
	t.delete(all[0].Key)
	for _, r := range all[1:] {
		t.holds(r)
	}
}

func groupNames(t *suite) {
	names := []string{
		"g", "g/", "g/a", "G", "g\x00", "g\x00a", "{g}", "g*", "g:1", "グループ", "\xff\xfe", "\x00", " ", "g ", "0", "{}", "}{",
		fill(storage.MaxIDBytes + t.slack), fill(storage.MaxIDBytes+t.slack-1) + "y",
	}
	for i, name := range names {
		t.put(record(fmt.Sprint("in-", i), "1", name))
	}
	for i, name := range names {
		t.lists(name, storage.Page{}, fmt.Sprint("in-", i))
	}
	t.put(record("in four", "1", "g", "g\x00", "{g}", "g/"))
	t.holds(t.put(record("in four more", "1", "g,g", "g\x00g", "g\ng", "[\"g\"]")))
	t.lists("g", storage.Page{}, "in four", "in-0")
	t.lists("g,g", storage.Page{}, "in four more")
}

// groupsAndIDs has groups, records and counters of one name, and of names that look
// like what an engine may make of another.
func groupsAndIDs(t *suite) {
	names := []string{"x", "grant/x", "grant:x", "grant\x00x", "{grant/x}", "g/x", "g:x", "r/x", "r:x", "c:x", "counter/x", "group/x", "members", "records"}
	var all []storage.Record
	for _, name := range names {
		all = append(all, t.put(record(name, "1", name)))
		t.counts(counterKey(name), 7, time.Hour, 7)
	}
	for _, r := range all {
		t.holds(r)
		t.lists(r.Key.ID, storage.Page{}, r.Key.ID)
		t.counts(counterKey(r.Key.ID), 0, time.Hour, 7)
	}
	for i, r := range all {
		t.delete(counterKey(r.Key.ID))
		t.lists(r.Key.ID, storage.Page{}, r.Key.ID)
		t.delete(r.Key)
		t.lists(r.Key.ID, storage.Page{})
		for _, other := range all[i+1:] {
			t.holds(other)
		}
	}
}

func longGroups(t *suite) {
	long := func(first byte, rest string) string {
		return string(first) + strings.Repeat(rest, storage.MaxIDBytes+t.slack)[:storage.MaxIDBytes+t.slack-1]
	}
	groups := []string{long('a', "\x00"), long('a', "\x00\xff"), long('{', "}{"), long('{', "}{")}
	groups[3] = groups[3][:len(groups[3])-1] + "\xff"
	r := record(long('i', "\xfe\x00"), "1", groups...)
	r.Sort = -storage.MaxSort
	t.put(r)
	t.put(record("another", "1", groups[1], groups[0]))
	r = next(r, "moved")
	r.Sort = storage.MaxSort
	r = read(t.put(r))
	t.holds(r)
	for i, g := range groups {
		t.listed(g, r, 1)
		if i < 2 {
			for _, limit := range []int{0, 1} {
				t.lists(g, storage.Page{Limit: limit}, "another", r.Key.ID)
			}
		}
	}
	t.delete(r.Key)
	t.lists(groups[0], storage.Page{}, "another")
	t.lists(groups[3], storage.Page{})
}

func limits(t *suite) {
	most := record(fill(storage.MaxIDBytes+t.slack), fill(storage.MaxValueBytes+t.slack),
		"a"+fill(storage.MaxIDBytes+t.slack-1), "b"+fill(storage.MaxIDBytes+t.slack-1),
		"c"+fill(storage.MaxIDBytes+t.slack-1), "d"+fill(storage.MaxIDBytes+t.slack-1))
	most.Sort = storage.MaxSort
	t.holds(t.put(most))
	t.lists(most.Groups[3], storage.Page{}, most.Key.ID)
	t.counts(counterKey(most.Key.ID), 1, time.Hour, 1)

	for name, change := range map[string]func(r *storage.Record){
		"long id":         func(r *storage.Record) { r.Key.ID += "x" },
		"empty id":        func(r *storage.Record) { r.Key.ID = "" },
		"unknown kind":    func(r *storage.Record) { r.Key.Kind = "nonsense" },
		"no kind":         func(r *storage.Record) { r.Key.Kind = "" },
		"counter":         func(r *storage.Record) { r.Key.Kind = storage.Counter },
		"long value":      func(r *storage.Record) { r.Value = append(r.Value, 'x') },
		"no version":      func(r *storage.Record) { r.Version = storage.Version{} },
		"version is prev": func(r *storage.Record) { r.Prev = r.Version },
		"many groups":     func(r *storage.Record) { r.Groups = append(r.Groups, "e") },
		"long group":      func(r *storage.Record) { r.Groups[0] += "x" },
		"empty group":     func(r *storage.Record) { r.Groups[0] = "" },
		"group twice":     func(r *storage.Record) { r.Groups[0] = r.Groups[1] },
		"high sort":       func(r *storage.Record) { r.Sort++ },
		"low sort":        func(r *storage.Record) { r.Sort = -r.Sort - 1 },
	} {
		r := most
		r.Key.ID = "b" + r.Key.ID[1:]
		r.Version = storage.NewVersion()
		r.Groups, r.Value = slices.Clone(r.Groups), slices.Clone(r.Value)
		change(&r)
		if err := t.s.Put(t.Context(), r); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("Put with %s = %v, want ErrInvalid", name, err)
		}
	}
	good := storage.Key{Kind: storage.Grant, ID: "good"}
	for _, key := range []storage.Key{{Kind: storage.Grant}, {ID: "a"}, {Kind: storage.Grant, ID: most.Key.ID + "x"}, {Kind: "nonsense", ID: "a"}, {}} {
		_, getErr := t.s.Get(t.Context(), key)
		_, lastErr := t.s.Get(t.Context(), good, key)
		for call, err := range map[string]error{"Get": getErr, "Get behind another": lastErr, "Delete": t.s.Delete(t.Context(), key)} {
			if !errors.Is(err, storage.ErrInvalid) {
				t.Errorf("%s of a bad key = %v, want ErrInvalid", call, err)
			}
		}
	}
	for _, group := range []string{"", most.Groups[0] + "x"} {
		if _, _, err := t.s.List(t.Context(), group, storage.Page{}); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("List of a bad group = %v, want ErrInvalid", err)
		}
	}
}

// clockInThePast does what has to do with time in a year that is long over for the
// machine, the database and whatever is between them.
func clockInThePast(t *suite) {
	t.clock.advance(time.Date(2001, 2, 3, 4, 5, 6, 7_890_123, time.UTC).Sub(t.clock.Now()))
	for _, c := range []check{
		{"get present", getPresent}, {"list returns whole records", listWhole}, {"expired is absent", expired},
		{"expired is replaced with zero Prev", replaceExpired}, {"expiry may change", changeExpiry},
		{"expiry changes many times", changeExpiryOften}, {"expiry is kept to the millisecond", expiryPrecision},
		{"expiry may be far", expiryFar}, {"put what has expired", putExpired}, {"the expired take nobody along", expiredAlone},
		{"pages pass over the expired", listPassesExpired}, {"racing puts replace the expired", raceExpired},
		{"add counts", addCounts}, {"add nothing to nothing", addNothing}, {"a counter's life is fixed", addLife},
		{"a counter at zero keeps its life", addZeroLife}, {"a counter is deleted", addDelete},
		{"racing adds meet the end of a life", raceAddWindow},
	} {
		part := t.part(c.name)
		part.TB = told{t.TB, c.name}
		c.run(part)
	}
}

// told is a TB whose messages say which part of a check they are of.
type told struct {
	testing.TB
	part string
}

func (t told) Error(args ...any) {
	t.Helper()
	t.TB.Errorf("%s: %s", t.part, fmt.Sprintln(args...))
}

func (t told) Errorf(format string, args ...any) {
	t.Helper()
	t.TB.Errorf("%s: "+format, append([]any{t.part}, args...)...)
}

func (t told) Fatal(args ...any) {
	t.Helper()
	t.TB.Fatalf("%s: %s", t.part, fmt.Sprintln(args...))
}

func (t told) Fatalf(format string, args ...any) {
	t.Helper()
	t.TB.Fatalf("%s: "+format, append([]any{t.part}, args...)...)
}
