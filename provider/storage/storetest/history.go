package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lettergate/lettergate/provider/storage"
)

// A history is what callers who use one key at the same time were told. It is sound
// when one order of all calls explains it that contradicts none of the clocks: each
// call took effect at some moment between its beginning and its end. Since every
// version is written once, over a version that is known, that order is a path.

type outcome int

const (
	done    outcome = iota
	refused         // ErrConflict
	unknown
)

// An event is one Put, or one Get, of a history.
type event struct {
	put     bool
	version storage.Version // that was written or read, zero for an absent record
	prev    storage.Version // of a Put
	outcome outcome         // of a Put
	begun   int64           // moments, counted: no two are the same
	ended   int64
}

// verify returns why events, of which the last is a Get behind all others, have no
// order; nil if they have one.
func verify(events []event) error {
	for i := range events {
		if events[i].outcome == unknown {
			events[i].ended = math.MaxInt64 // or later
		}
	}
	puts := map[storage.Version]event{}
	for _, e := range events {
		if e.put {
			puts[e.version] = e
		}
	}
	places, err := path(puts, events[len(events)-1].version)
	if err != nil {
		return err
	}
	for _, e := range events {
		place, there := places[e.version]
		switch {
		case !e.put && !there:
			return fmt.Errorf("a Get read %x, which the record never was on its way to its last version", e.version[:4])
		case e.put && e.outcome == done && !there:
			return fmt.Errorf("the Put of %x over %x was acknowledged and is lost", e.version[:4], e.prev[:4])
		case e.put && e.outcome == refused && there:
			return fmt.Errorf("the Put of %x over %x was refused and took effect", e.version[:4], e.prev[:4])
		case there && place > 0 && puts[e.version].begun > e.ended:
			return fmt.Errorf("a Get read %x before its Put began", e.version[:4])
		}
	}
	if err := inTime(events, places); err != nil {
		return err
	}
	return conflicts(events, puts, places)
}

// path returns the place of each version on the way to the last, 0 for the absent
// record.
func path(puts map[storage.Version]event, last storage.Version) (map[storage.Version]int, error) {
	way := []storage.Version{last}
	for v := last; !v.IsZero(); {
		put, ok := puts[v]
		if !ok {
			return nil, fmt.Errorf("version %x was written by nobody", v[:4])
		}
		v = put.prev
		if slices.Contains(way, v) {
			return nil, fmt.Errorf("version %x comes back", v[:4])
		}
		way = append(way, v)
	}
	places := make(map[storage.Version]int, len(way))
	for i, v := range way {
		places[v] = len(way) - 1 - i
	}
	return places, nil
}

// inTime checks that nobody went back: what began after a version was known has
// that version or a later one, and a later one if it is a Put.
func inTime(events []event, places map[storage.Version]int) error {
	begun := slices.SortedFunc(slices.Values(events), func(a, b event) int { return cmp.Compare(a.begun, b.begun) })
	ended := slices.SortedFunc(slices.Values(events), func(a, b event) int { return cmp.Compare(a.ended, b.ended) })
	known := event{}
	for _, e := range begun {
		for ; len(ended) > 0 && ended[0].ended < e.begun; ended = ended[1:] {
			if place, ok := places[ended[0].version]; ok && place >= places[known.version] {
				known = ended[0]
			}
		}
		place, there := places[e.version]
		switch {
		case !there || known.begun == 0:
		case !e.put && place < places[known.version]:
			return fmt.Errorf("a Get that began after version %x was known read the older %x", known.version[:4], e.version[:4])
		case e.put && place <= places[known.version]:
			return fmt.Errorf("the Put of %x began after version %x was known and is before it", e.version[:4], known.version[:4])
		}
	}
	return nil
}

// conflicts checks that each refused Put had met another version: the one that it
// was to replace was not there all the time.
func conflicts(events []event, puts map[storage.Version]event, places map[storage.Version]int) error {
	successors := map[storage.Version]event{}
	for v := range places {
		if put, ok := puts[v]; ok {
			successors[put.prev] = put
		}
	}
	for _, e := range events {
		if !e.put || e.outcome != refused {
			continue
		}
		if _, there := places[e.prev]; !there {
			continue
		}
		if successor, ok := successors[e.prev]; !ok || successor.begun > e.ended {
			return fmt.Errorf("the Put over %x was refused though nobody had begun to replace that", e.prev[:4])
		}
	}
	return nil
}

// A recorder writes a history of one key.
type recorder struct {
	now    atomic.Int64
	mu     sync.Mutex
	events []event // guarded by mu
}

// record adds what call did; call fills in all but the moments.
func (h *recorder) record(call func() event) {
	begun := h.now.Add(1)
	e := call()
	e.begun, e.ended = begun, h.now.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// get reads the record and says so in the history.
func (h *recorder) get(t *suite, key storage.Key) (r storage.Record) {
	h.record(func() event {
		got, err := t.s.Get(t.Context(), key)
		if err != nil || len(got) != 1 {
			t.Errorf("Get = %d records, %v", len(got), err)
			return event{}
		}
		r = got[0]
		return event{version: r.Version}
	})
	return r
}

// settle puts r, as a caller does who must know what became of it.
func (h *recorder) settle(t *suite, r storage.Record) {
	h.record(func() event {
		e := event{put: true, version: r.Version, prev: r.Prev}
		switch err := storage.Settle(t.Context(), t.s, r); {
		case err == nil:
		case errors.Is(err, storage.ErrConflict):
			e.outcome = refused
		case errors.Is(err, storage.ErrUnavailable):
			e.outcome = unknown
		default:
			t.Errorf("Settle: %v", err)
		}
		return e
	})
}

func historyPlain(t *suite) { history(t) }

// historyLost is a history with lost replies, which Settle finds out about, or says
// that it cannot.
func historyLost(t *suite) {
	history(t.on(WeakConfig{Seed: 5, LostReplies: 0.2}.Store(t.s)))
}

// history has callers read and replace one record, and checks what they were told.
func history(t *suite) {
	const writers, readers = 8, 4
	key := t.key(storage.Grant, "a")
	h := &recorder{}
	together(writers+readers, func(caller int) {
		var seen storage.Record
		for deed := range deeds {
			if caller >= writers {
				h.get(t, key)
				continue
			}
			if deed%3 != 2 { // every third Put is over what may be old by now
				seen = h.get(t, key)
			}
			r := t.record("a", fmt.Sprint(caller, deed), "g")
			r.Prev, r.Sort = seen.Version, int64(caller)
			h.settle(t, r)
		}
	})
	last := h.get(t, key)
	if err := verify(h.events); err != nil {
		t.Errorf("the history of %d calls has no order: %v", len(h.events), err)
	}
	t.listed(t.names+"g", last, 1)
}
