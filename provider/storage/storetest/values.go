package storetest

import (
	"bytes"
	"crypto/rand"
	"slices"

	"github.com/lettergate/lettergate/provider/storage"
)

var valueChecks = []check{
	{"values of any bytes", anyBytes},
	{"big values", bigValues},
	{"the caller's slices", callersSlices},
}

func anyBytes(t *suite) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	r := storage.Record{}
	for _, value := range []string{
		string(every), "\x00", "\x00\x00\x00", "a\x00", " ", "\n", "\r\n", "\xff", "\xff\xfe\xfd", "null", "nil", "0", "-1", `\x00`, `{"a":1}`, "'", `"`,
		"é\xc3", "\xef\xbb\xbfx", fill(1 << 10), fill(1<<16 - 1), fill(1 << 16), fill(1<<16 + 1), string(bytes.Repeat(every, 100)),
	} {
		if r.IsZero() {
			r = t.put(t.record("a", value, "g"))
		} else {
			r = t.put(next(r, value))
		}
		t.holds(read(r))
		t.listed(r.Groups[0], read(r), 1)
	}
}

func bigValues(t *suite) {
	value := make([]byte, storage.MaxValueBytes)
	rand.Read(value) // crypto/rand.Read never fails
	r := t.record("a", string(value), "g")
	t.holds(t.put(r))
	rand.Read(value)
	r = read(t.put(next(r, string(value))))
	want := []storage.Record{r}
	for i, fill := range []byte{0, 0xff, 'a'} {
		want = append(want, t.put(t.record(string(rune('b'+i)), string(bytes.Repeat([]byte{fill}, storage.MaxValueBytes)), "g")))
	}
	var keys []storage.Key
	for i, got := range t.lists("g", storage.Page{}, "a", "b", "c", "d") {
		t.same(got, want[i])
		keys = append(keys, got.Key)
	}
	for i, got := range t.get(keys...) {
		t.same(got, want[i])
	}
}

func callersSlices(t *suite) {
	r := t.record("a", "value", "g", "h")
	mine := r
	mine.Value, mine.Groups = bytes.Clone(r.Value), slices.Clone(r.Groups)
	t.put(mine)
	mine.Value[0], mine.Groups[0] = 'X', "X"
	t.holds(r)

	// What is read belongs to the caller.
	got := t.get(r.Key)[0]
	_ = append(got.Value, "more"...)
	got.Value[0], got.Groups[0] = 'Y', "Y"
	t.holds(r)
	t.put(t.record("b", "value", "g"))
	listed := t.lists("g", storage.Page{}, "a", "b")
	_ = append(listed[0].Value, "more"...)
	if string(listed[1].Value) != "value" {
		t.Errorf("the records of a list share their memory")
	}
	for _, l := range listed {
		l.Value[0], l.Groups[0] = 'Z', "Z"
	}
	t.holds(r)
	t.lists("g", storage.Page{}, "a", "b")

	// And the store does not write into what it is given.
	keys := []storage.Key{r.Key, t.key(storage.Grant, "c")}
	given := next(r, "2")
	kept := given
	kept.Value, kept.Groups = bytes.Clone(given.Value), slices.Clone(given.Groups)
	t.put(given)
	t.get(keys...)
	t.same(read(given), read(kept))
	if keys[0] != r.Key || keys[1] != t.key(storage.Grant, "c") {
		t.Errorf("Get changed the keys it was given")
	}
	room := append(make([]byte, 0, 100), "with room behind it"...)
	given = next(given, "")
	given.Value = room
	t.put(given)
	if !bytes.Equal(room[:cap(room)][len(room):], make([]byte, cap(room)-len(room))) {
		t.Errorf("Put wrote behind the end of the value")
	}
}
