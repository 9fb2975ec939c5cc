package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var contextChecks = []check{
	{"a context that is done", contextDone},
	{"a context that ends during a call", contextEnds},
	{"a put that is interrupted", putInterrupted},
	{"a delete that is interrupted", deleteInterrupted},
	{"an add that is interrupted", addInterrupted},
}

var endChecks = []check{
	{"closed", closed},
	{"closed during calls", closedDuring},
}

// promptly is how long a call may take to notice the end of its context: far more
// than it takes, so that a busy machine fails nobody.
const promptly = 3 * time.Second

// A call is one call of a method.
type call struct {
	name string
	do   func(ctx context.Context) error
}

// calls is every method of t.s that takes a context, on r.
func (t *suite) calls(r storage.Record) []call {
	s := t.s
	return []call{
		{"Get", func(ctx context.Context) error {
			_, err := s.Get(ctx, r.Key, t.key(storage.User, "nobody"))
			return err
		}},
		{"Put", func(ctx context.Context) error { return s.Put(ctx, next(r, "late")) }},
		{"Put of a new record", func(ctx context.Context) error {
			return s.Put(ctx, t.record(fmt.Sprintf("%x", storage.NewVersion()), "new", "g"))
		}},
		{"Delete", func(ctx context.Context) error { return s.Delete(ctx, r.Key) }},
		{"Delete of a counter", func(ctx context.Context) error { return s.Delete(ctx, t.counter("c")) }},
		{"List", func(ctx context.Context) error { _, _, err := s.List(ctx, t.names+"g", storage.Page{}); return err }},
		{"Add", func(ctx context.Context) error { _, err := s.Add(ctx, t.counter("c"), 1, time.Hour); return err }},
		{"Ping", s.Ping},
	}
}

// within returns the answer of the call, or false if it has none in time.
func (c call) within(ctx context.Context, d time.Duration) (error, bool) {
	done := make(chan error, 1)
	go func() { done <- c.do(ctx) }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-done:
		return err, true
	case <-timer.C:
		return nil, false
	}
}

func contextDone(t *suite) {
	r := t.put(t.record("a", "1", "g"))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, late} {
		for _, call := range t.calls(r) {
			for range 20 { // it may be a matter of luck
				err, ok := call.within(ctx, promptly)
				if !ok {
					t.Fatalf("%s with a done context does not return", call.name)
				}
				if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, ctx.Err()) ||
					errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrInvalid) || errors.Is(err, storage.ErrUnfit) {
					t.Fatalf("%s with a done context = %v, want an error that is ErrUnavailable and %v", call.name, err, ctx.Err())
				}
			}
		}
	}
}

// contextEnds ends the contexts of calls while many others wait for the store.
func contextEnds(t *suite) {
	r := t.put(t.record("a", "1", "g"))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			busy := t.record(string(rune('b'+i)), strings.Repeat("busy", 100), "g")
			busy.Version = storage.Version{}
			for !stop.Load() {
				busy = next(busy, "still busy")
				busy.Sort = -busy.Sort + 1
				if err := t.s.Put(t.Context(), busy); err != nil {
					t.Errorf("Put beside interrupted calls: %v", err)
					return
				}
			}
		})
	}
	for round := range 30 {
		wait := time.Duration(round*round) * time.Microsecond
		for _, call := range t.calls(r) {
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(wait, cancel)
			err, ok := call.within(ctx, promptly)
			if !ok {
				t.Errorf("%s does not return when its context ends", call.name)
			} else if err != nil && !errors.Is(err, storage.ErrConflict) && (!errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.Canceled)) {
				t.Errorf("%s = %v, want an error that is ErrUnavailable and context.Canceled", call.name, err)
			}
			timer.Stop()
			cancel()

			ctx, cancel = context.WithTimeout(t.Context(), wait)
			err, ok = call.within(ctx, promptly)
			if !ok {
				t.Errorf("%s does not return at its deadline", call.name)
			} else if err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s = %v at its deadline, want ErrUnavailable", call.name, err)
			}
			cancel()
		}
	}
	stop.Store(true)
	wg.Wait()
	if err := t.s.Ping(t.Context()); err != nil { // nothing is left of it all
		t.Errorf("Ping after interrupted calls: %v", err)
	}
}

// putInterrupted ends the context at some moment of a Put, and changes what it was
// given once it has returned. Whatever becomes of the Put, all of it does.
func putInterrupted(t *suite) {
	for round := range 40 {
		r := t.record("a", fill(1000), "g1", "g2", "g3")
		r.Key.ID += string(rune('0' + round))
		r.Sort = int64(round)
		if round%2 == 1 {
			t.put(r)
		}
		changed := next(r, strings.Repeat("y", 1000))
		if round%2 == 0 {
			changed.Prev = storage.Version{}
		}
		changed.Sort = -int64(round) - 1

		given := changed
		given.Value, given.Groups = bytes.Clone(changed.Value), slices.Clone(changed.Groups)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round)*10*time.Microsecond)
		err := t.s.Put(ctx, given)
		cancel()
		copy(given.Value, strings.Repeat("z", 1000))
		clear(given.Groups)

		changed = read(changed)
		switch got := t.get(r.Key)[0]; {
		case got.Version == changed.Version:
			t.same(got, changed)
		case err == nil:
			t.Errorf("an acknowledged Put is not there")
		case round%2 == 1:
			t.same(got, r)
			continue // it may still be on its way, and move what is listed
		default:
			continue
		}
		for _, group := range r.Groups {
			t.listed(group, changed, 1)
		}
	}
}

func deleteInterrupted(t *suite) {
	for round := range 40 {
		r := t.put(t.record(string(rune('0'+round)), "1", "g1", "g2", "g3"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round)*10*time.Microsecond)
		err := t.s.Delete(ctx, r.Key)
		cancel()
		switch got := t.get(r.Key)[0]; {
		case got.IsZero():
			for _, group := range r.Groups {
				t.listed(group, r, 0)
			}
		case err == nil:
			t.Errorf("a record is there after an acknowledged Delete")
		default:
			t.same(got, r)
		}
	}
}

// addInterrupted: each Add counts once or not at all.
func addInterrupted(t *suite) {
	key := t.counter("a")
	var told, lost int64
	for round := range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round)*7*time.Microsecond)
		if _, err := t.s.Add(ctx, key, 1, time.Hour); err == nil {
			told++
		} else {
			lost++
		}
		cancel()
	}
	if n := t.add(key, 0, 0); n < told || n > told+lost {
		t.Errorf("the counter is at %d after %d answers and %d interrupted calls", n, told, lost)
	}
}

func closed(t *suite) {
	r := t.put(t.record("a", "1", "g"))
	if err := t.s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for _, call := range t.calls(r) {
		if err, ok := call.within(t.Context(), promptly); !ok {
			t.Errorf("%s after Close does not return", call.name)
		} else if err == nil {
			t.Errorf("%s after Close succeeded", call.name)
		}
	}
}

// closedDuring closes the store beneath its callers. Each gets an answer.
func closedDuring(t *suite) {
	r := t.put(t.record("a", "1", "g"))
	calls := t.calls(r)
	var begun, wg sync.WaitGroup
	begun.Add(len(calls))
	failed := make([]error, len(calls))
	for i, call := range calls {
		wg.Go(func() {
			for n := 0; failed[i] == nil && n < 1_000_000; n++ {
				failed[i] = call.do(t.Context())
				if errors.Is(failed[i], storage.ErrConflict) {
					failed[i] = nil
				}
				if n == 0 {
					begun.Done()
				}
			}
		})
	}
	begun.Wait()
	if err := t.s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	timer := time.NewTimer(10 * promptly)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatal("a call that Close met does not return")
	}
	for i, call := range calls {
		switch err := failed[i]; {
		case err == nil:
			t.Errorf("%s goes on after Close", call.name)
		case errors.Is(err, storage.ErrInvalid), errors.Is(err, storage.ErrCorrupt):
			t.Errorf("%s during Close = %v", call.name, err)
		}
	}
}
