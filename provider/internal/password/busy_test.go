package password_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/password"
)

// allocated is how many bytes f takes from the heap: a hash takes Config.Memory at
// once, so that hashes can be counted from outside.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// hashing is how many hashes are being computed at this moment, by the stacks of
// all goroutines.
func hashing() int {
	for buf := make([]byte, 1<<20); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return strings.Count(string(buf[:n]), "/argon2.IDKey(")
		}
	}
}

// However many try at once, no more than Concurrent hashes are computed, nor fewer
// when there are enough to compute; the memory of all others is not taken yet.
func TestMemoryIsBounded(t *testing.T) {
	const concurrent, parallel = 3, 64
	w := newWorld(t, password.Config{Memory: 4 << 10, Iterations: 16, Concurrent: concurrent, Wait: time.Minute})
	w.set("ann", right)
	var wg sync.WaitGroup
	var answered atomic.Int64
	for n := range parallel {
		wg.Go(func() {
			defer answered.Add(1)
			var err error
			if n%2 == 0 {
				_, err = w.Hash(t.Context(), right)
			} else if err = w.Verify(t.Context(), try("wrong", n)); errors.Is(err, password.ErrWrong) {
				err = nil
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	most := 0
	for answered.Load() < parallel {
		most = max(most, hashing())
		runtime.Gosched()
	}
	wg.Wait()
	if most != concurrent {
		t.Errorf("%d hashes were computed at once; want %d", most, concurrent)
	}
}

// occupied calls f while w's only turn is taken, which is as long as a large hash
// takes.
func (w *world) occupied(f func()) {
	w.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = w.Hash(w.Context(), right) })
	for hashing() == 0 {
		runtime.Gosched()
	}
	f()
	if hashing() == 0 {
		w.Error("the turn was over too soon to show anything")
	}
	wg.Wait()
}

// A try that does not get its turn is ErrBusy and costs the account nothing.
func TestBusy(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	w.Service = w.service(large(time.Nanosecond))
	w.occupied(func() {
		for n := range 15 {
			w.verify(try("wrong", n), password.ErrBusy)
		}
	})
	w.Service = w.service(small())
	w.verify(try(right, 100), nil)
}

// What is over a limit stays over it, however busy we are, and takes no turn.
func TestBusyOverTheLimit(t *testing.T) {
	little := small()
	little.TriesPerAccount, little.TriesPerSource = 1, 1
	w := newWorld(t, little)
	w.set("ann", right)
	w.verify(try("wrong", 0), password.ErrWrong)
	cfg := large(time.Nanosecond)
	cfg.TriesPerAccount, cfg.TriesPerSource = 1, 1
	w.Service = w.service(cfg)
	w.occupied(func() {
		for range 3 {
			w.verify(try("wrong", 0), password.ErrWrong) // over the source's: the account was not counted
		}
		w.verify(try("wrong", 1), password.ErrWrong) // over the account's
	})
	w.Service = w.service(little)
	w.verify(try(right, 2), password.ErrWrong)
}

// Who does not want to wait any longer does not.
func TestBusyEndsWithTheContext(t *testing.T) {
	w := newWorld(t, large(time.Hour))
	w.occupied(func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := w.Hash(ctx, right); !errors.Is(err, password.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Hash = %v", err)
		}
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Hash(gone, right); !errors.Is(err, password.ErrBusy) {
		t.Errorf("with a turn free: %v", err)
	}
}

// large is a Config of one hash at a time, which takes a while.
func large(wait time.Duration) password.Config {
	return password.Config{Memory: 64 << 10, Iterations: 16, Concurrent: 1, Wait: wait}
}

// A turn is given back by whatever ends it.
func TestTurnsComeBack(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	w.Service = w.service(password.Config{Memory: 16, Iterations: 1, Concurrent: 1, Wait: time.Nanosecond})
	for n := range 3 {
		w.verify(try("wrong", n), password.ErrWrong)
		w.verify(try(right, n), nil)
		w.set("bob", right)
	}
}
