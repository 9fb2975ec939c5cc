package storetest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var modelChecks = []check{
	{"random operations agree with a model", randomOperations},
	{"a history of one record has an order", historyPlain},
	{"a history with lost replies has an order", historyLost},
}

// shown is how many of the operations before a failure are printed.
const shown = 25

// randomOperations makes the same random calls of the store and of a model. The
// sequences are the same in each run.
func randomOperations(t *suite) {
	runs := modelRuns
	if t.scoped {
		runs /= 2
	}
	for seed := range uint64(runs) {
		d := &differential{
			suite: t.part(fmt.Sprint(seed)),
			rand:  rand.New(rand.NewPCG(seed, 0)),
			model: newModel(t.clock.Now),
		}
		for n := range modelOps {
			err := d.step()
			if err == nil && (n%100 == 99 || n == modelOps-1) {
				err = d.all()
			}
			if err != nil {
				t.Fatalf("seed %d, operation %d: %v\nThe last operations were\n\t%s", seed, n, err, strings.Join(d.log, "\n\t"))
			}
		}
	}
}

// A differential compares a store with a model, call by call.
type differential struct {
	*suite
	rand   *rand.Rand
	model  *model
	log    []string           // the last operations
	former [16]storage.Record // records that were Put once
	puts   int
}

// note writes an operation down, before it is tried.
func (d *differential) note(format string, args ...any) {
	d.log = append(d.log, fmt.Sprintf(format, args...))
	d.log = d.log[max(0, len(d.log)-shown):]
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// anyKey is one of few, so that they meet.
func (d *differential) anyKey() storage.Key {
	kind := pick(d.rand, storage.Grant, storage.Grant, storage.Session, storage.User)
	return d.key(kind, pick(d.rand, "a", "b", "b\x00", "B", "c/", "\xff"))
}

func (d *differential) anyGroup() string {
	return d.names + pick(d.rand, "g", "g\x00", "G", "h", "{h}")
}

func (d *differential) anySort() int64 {
	return pick(d.rand, 0, 0, 0, 1, 1, 2, -1, 10, 1<<53-1, 1-1<<53, 1<<33+1, d.rand.Int64N(2*storage.MaxSort)-storage.MaxSort)
}

func (d *differential) anyVersion() (v storage.Version) {
	for i := range v {
		v[i] = byte(1 + d.rand.UintN(255))
	}
	return v
}

// anyLife is a time from now. Most of them are over soon, some have long been.
func (d *differential) anyLife() time.Time {
	switch d.rand.IntN(4) {
	case 0:
		return d.in(pick(d.rand, time.Millisecond, 2*time.Millisecond, time.Second))
	case 1:
		return d.in(pick(d.rand, time.Minute, time.Hour, -time.Millisecond, 0, -time.Hour, 1000*time.Hour))
	}
	return time.Time{}
}

// step makes one call of both and returns in what they differ.
func (d *differential) step() error {
	switch n := d.rand.IntN(100); {
	case n < 45:
		return d.put()
	case n < 52:
		key := d.anyKey()
		if d.rand.IntN(4) == 0 {
			key.Kind = storage.Counter
		}
		d.note("Delete %q", key)
		d.model.delete(key)
		return d.s.Delete(d.Context(), key)
	case n < 64:
		keys := make([]storage.Key, d.rand.IntN(6))
		for i := range keys {
			keys[i] = d.anyKey()
		}
		return d.read(keys...)
	case n < 76:
		return d.list(d.anyGroup(), storage.Page{Limit: d.rand.IntN(5), Until: pick(d.rand, 0, 0, 0, d.anySort())}, d.rand.IntN(3) == 0)
	case n < 90:
		return d.count()
	}
	step := pick(d.rand, time.Millisecond, time.Millisecond, time.Second, time.Minute, time.Hour, 500*time.Microsecond)
	d.note("the clock goes on by %v", step)
	d.clock.advance(step)
	return nil
}

// put puts what is right, or wrong in one of the ways there are.
func (d *differential) put() error {
	key := d.anyKey()
	cur := d.model.get(key)
	r := storage.Record{
		Key: key, Groups: cur.Groups, Sort: d.anySort(), Expires: d.anyLife(),
		Value: []byte(fmt.Sprint(d.puts)), Version: d.anyVersion(), Prev: cur.Version,
	}
	if cur.IsZero() {
		for range d.rand.IntN(storage.MaxGroups + 1) {
			if g := d.anyGroup(); !slices.Contains(r.Groups, g) {
				r.Groups = append(r.Groups, g)
			}
		}
	}
	former := &d.former[d.rand.IntN(len(d.former))]
	switch d.rand.IntN(16) {
	case 0:
		r.Prev = storage.Version{}
	case 1:
		r.Prev = d.anyVersion()
	case 2:
		r.Groups = []string{d.anyGroup()}
	case 3, 4:
		if !former.IsZero() {
			r = *former // resent, sooner or later
		}
	case 5:
		if !former.IsZero() {
			r.Prev = former.Version
		}
	}
	d.puts++
	want := d.model.put(r)
	d.note("Put %q of %x over %x, Groups %q, Sort %d, Expires %v: %v", r.Key, r.Version[:3], r.Prev[:3], r.Groups, r.Sort, r.Expires, want)
	if want == nil {
		*former = r
	}
	if err := d.s.Put(d.Context(), r); !errors.Is(err, want) {
		return fmt.Errorf("Put = %v, want %v", err, want)
	}
	return d.read(key)
}

func (d *differential) read(keys ...storage.Key) error {
	d.note("Get %q", keys)
	got, err := d.s.Get(d.Context(), keys...)
	if err != nil || len(got) != len(keys) {
		return fmt.Errorf("Get of %d keys = %d records, %v", len(keys), len(got), err)
	}
	for i, key := range keys {
		if err := differ(got[i], d.model.get(key)); err != nil {
			return fmt.Errorf("Get: %w", err)
		}
	}
	return nil
}

// list walks a group to its end, or for some pages.
func (d *differential) list(group string, page storage.Page, some bool) error {
	want := d.model.list(group, storage.Cursor{Sort: math.MinInt64}, page.Until)
	d.note("List %q %+v, which holds %d", group, page, len(want))
	for n := 0; ; n++ {
		got, next, err := d.page(d.Context(), group, page)
		if err != nil {
			return fmt.Errorf("List: %w", err)
		}
		if len(got) > len(want) {
			return fmt.Errorf("List returned %q, which is not there", got[len(want)].Key)
		}
		for i := range got {
			if err := differ(got[i], want[i]); err != nil {
				return fmt.Errorf("List: %w", err)
			}
		}
		want = want[len(got):]
		switch {
		case next == "" && len(want) > 0:
			return fmt.Errorf("List ends before %q", want[0].Key)
		case next == "" || some && n == 2:
			return nil
		case n > 10_000:
			return errors.New("List does not end")
		}
		page.After = next
	}
}

func (d *differential) count() error {
	key := d.counter(pick(d.rand, "a", "b", "b\x00"))
	delta := pick(d.rand, 1, 1, 1, 5, 0, -1, -1, -3, -100, 1<<53, math.MaxInt64, math.MinInt64, d.rand.Int64())
	life := pick(d.rand, time.Millisecond, time.Second, time.Minute)
	want := d.model.add(key, delta, life)
	d.note("Add %q %d for %v: %d", key, delta, life, want)
	if got, err := d.s.Add(d.Context(), key, delta, life); err != nil || got != want {
		return fmt.Errorf("Add = %d, %v; want %d", got, err, want)
	}
	return nil
}

// all compares everything there is. It is not among the last operations.
func (d *differential) all() error {
	log := slices.Clone(d.log)
	defer func() { d.log = log }()
	for key := range d.model.records {
		if err := d.read(key); err != nil {
			return err
		}
	}
	for _, g := range []string{"g", "g\x00", "G", "h", "{h}"} {
		if err := d.list(d.names+g, storage.Page{}, false); err != nil {
			return err
		}
	}
	return nil
}
