package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

const kind outbox.Kind = "test"

// bubble runs f on a fake clock with a store of its own.
func bubble(t *testing.T, f func(t *testing.T, store storage.Store)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(dir, "test.db")})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		f(t, storage.Scope(store, "https://id.example"))
	})
}

// pass lets time pass in the bubble, and what is due then happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// process is one outbox as a process of a deployment would have it.
type process struct {
	*outbox.Outbox
	stop func() error // ends Run and returns what it returned
}

func newProcess(t *testing.T, cfg outbox.Config, h outbox.Handler) process {
	t.Helper()
	o, err := outbox.New(cfg, map[outbox.Kind]outbox.Handler{kind: h})
	if err != nil {
		t.Fatal(err)
	}
	return process{Outbox: o}
}

func startProcess(t *testing.T, cfg outbox.Config, h outbox.Handler) process {
	t.Helper()
	p := newProcess(t, cfg, h)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	p.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { p.stop() })
	return p
}

func add(t *testing.T, o process, id string, life time.Duration) outbox.Ticket {
	t.Helper()
	ticket, err := o.Add(t.Context(), outbox.Job{ID: id, Kind: kind, Payload: id, Expires: time.Now().Add(life)})
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// waiting returns the ids of the jobs in the store.
func waiting(t *testing.T, store storage.Store) []string {
	t.Helper()
	var ids []string
	for i := range 16 {
		recs, _, err := store.List(t.Context(), fmt.Sprintf("outbox/%d", i), storage.Page{Limit: storage.MaxPage})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			ids = append(ids, r.Key.ID)
		}
	}
	return ids
}

// calls counts a handler's calls by job, and how many of one job overlap.
type calls struct {
	mu      sync.Mutex
	total   map[string]int
	running map[string]int
	overlap int
	times   []time.Time
}

func (c *calls) enter(payload json.RawMessage) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total == nil {
		c.total, c.running = map[string]int{}, map[string]int{}
	}
	id := string(payload)
	c.total[id]++
	c.running[id]++
	c.times = append(c.times, time.Now())
	if c.running[id] > 1 {
		c.overlap++
	}
	return func() { c.mu.Lock(); c.running[id]--; c.mu.Unlock() }
}

func (c *calls) sum() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.times)
}

// Two processes of four workers each share a hundred jobs. Half are dispatched by
// their maker, half are left to whoever finds them.
func TestEachJobOnce(t *testing.T) {
	t.Run("store", func(t *testing.T) { bubble(t, eachJobOnce) })
	t.Run("weakest store", func(t *testing.T) {
		bubble(t, func(t *testing.T, store storage.Store) { eachJobOnce(t, storetest.Weakest(store)) })
	})
}

func eachJobOnce(t *testing.T, store storage.Store) {
	var c calls
	h := func(ctx context.Context, p json.RawMessage) error {
		defer c.enter(p)()
		<-time.After(2 * time.Second) // so that the workers overlap
		return nil
	}
	a := startProcess(t, outbox.Config{Store: store}, h)
	startProcess(t, outbox.Config{Store: store}, h)
	for i := range 100 {
		ticket := add(t, a, fmt.Sprint("job ", i), time.Hour)
		if i%2 == 0 {
			a.Dispatch(ticket)
		}
	}
	pass(2 * time.Minute)
	if len(c.total) != 100 || c.sum() != 100 || c.overlap != 0 {
		t.Errorf("%d jobs handled in %d calls, %d overlapping; want 100, 100, 0", len(c.total), c.sum(), c.overlap)
	}
	if ids := waiting(t, store); len(ids) != 0 {
		t.Errorf("still waiting: %v", ids)
	}
}

// A slow handler is not overtaken by another worker as long as it heeds its context.
func TestNeverTwoAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		h := func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			<-ctx.Done()
			return ctx.Err()
		}
		a := startProcess(t, outbox.Config{Store: store}, h)
		startProcess(t, outbox.Config{Store: store}, h)
		for i := range 20 {
			a.Dispatch(add(t, a, fmt.Sprint("job ", i), time.Hour))
		}
		pass(4 * time.Minute)
		if c.overlap != 0 || c.sum() < 30 {
			t.Errorf("%d of %d calls overlapped", c.overlap, c.sum())
		}
	})
}

// A ticket that waited for a worker has only the rest of its lease.
func TestRestOfALease(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		h := func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			if string(p) == `"first"` {
				<-time.After(10 * time.Second)
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		a := startProcess(t, outbox.Config{Store: store, Workers: 1}, h)
		startProcess(t, outbox.Config{Store: store}, h)
		a.Dispatch(add(t, a, "first", time.Hour))
		a.Dispatch(add(t, a, "second", time.Hour))
		pass(time.Minute)
		if c.total[`"first"`] != 1 || c.total[`"second"`] == 0 || c.overlap != 0 {
			t.Errorf("calls %v, of which %d overlapped", c.total, c.overlap)
		}
	})
}

// The maker dies after its answer and before it has sent anything.
func TestCrashBeforeDispatch(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		dead := newProcess(t, outbox.Config{Store: store}, func(context.Context, json.RawMessage) error { return nil })
		add(t, dead, "job", time.Hour)

		var c calls
		startProcess(t, outbox.Config{Store: store}, func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			return nil
		})
		pass(29 * time.Second)
		if c.sum() != 0 {
			t.Error("handled while it was leased to its maker")
		}
		pass(6 * time.Second)
		if c.sum() != 1 || len(waiting(t, store)) != 0 {
			t.Errorf("handled %d times after the lease ran out, waiting %v; want once", c.sum(), waiting(t, store))
		}
	})
}

// mortal returns the store as a process has it that can lose it.
func mortal(store storage.Store) (mine storage.Store, lost *atomic.Bool) {
	lost = new(atomic.Bool)
	return storetest.Faulty(store, func(storetest.Op) error {
		if lost.Load() {
			return storage.ErrUnavailable
		}
		return nil
	}), lost
}

// The worker dies between handling and deleting: the job is handled once more,
// when the worker's lease has run out and not before.
func TestCrashBeforeDelete(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		mine, lost := mortal(store)
		a := startProcess(t, outbox.Config{Store: mine}, func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			lost.Store(true)
			return nil
		})
		add(t, a, "job", time.Hour) // found by a's own scanner, so leased for 60 s
		pass(35 * time.Second)
		if c.sum() != 1 {
			t.Fatalf("handled %d times", c.sum())
		}
		taken := c.times[0]

		startProcess(t, outbox.Config{Store: store}, func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			return nil
		})
		pass(2 * time.Minute)
		if c.sum() != 2 || len(waiting(t, store)) != 0 {
			t.Fatalf("handled %d times in all, waiting %v; want twice", c.sum(), waiting(t, store))
		}
		if again := c.times[1].Sub(taken); again < 60*time.Second || again > 64*time.Second {
			t.Errorf("handled again after %s; the lease is 60 s", again)
		}
	})
}

// A ticket that comes after its lease ran out is worth nothing when somebody else
// has taken the job.
func TestLateTicket(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		h := func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			<-time.After(20 * time.Second)
			return nil
		}
		slow := newProcess(t, outbox.Config{Store: store}, h)
		ticket := add(t, slow, "job", time.Hour)
		startProcess(t, outbox.Config{Store: store}, h)
		pass(35 * time.Second)
		if c.sum() != 1 {
			t.Fatalf("handled %d times", c.sum())
		}
		slow.Dispatch(ticket)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := slow.Run(ctx); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute)
		if c.sum() != 1 {
			t.Errorf("handled %d times, want once", c.sum())
		}
	})
}

func TestBackOff(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		var log bytes.Buffer
		o := startProcess(t, outbox.Config{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			func(ctx context.Context, p json.RawMessage) error {
				defer c.enter(p)()
				return errors.New("the reply quotes someone@example.com")
			})
		ticket, err := o.Add(t.Context(), outbox.Job{
			ID: "job-1", Kind: kind, Payload: "payload of someone@example.com", Expires: time.Now().Add(12 * time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Dispatch(ticket)
		pass(13 * time.Minute)
		// 5 s doubled up to 5 min; within 12 min that is eight calls.
		pauses := []time.Duration{5, 10, 20, 40, 80, 160, 300}
		if len(c.times) != len(pauses)+1 {
			t.Fatalf("%d calls, want %d", len(c.times), len(pauses)+1)
		}
		for i, want := range pauses {
			want *= time.Second
			// A scan is at most 3 s late.
			if got := c.times[i+1].Sub(c.times[i]); got < want || got > want+3*time.Second {
				t.Errorf("pause %d was %s, want %s", i+1, got, want)
			}
		}
		if ids := waiting(t, store); len(ids) != 0 {
			t.Errorf("still waiting: %v", ids)
		}
		o.stop()
		if out := log.String(); strings.Count(out, "\n") != 1 || !strings.Contains(out, "kind=test id=job-1") || strings.Contains(out, "@") {
			t.Errorf("the log of a dropped job: %q", out)
		}
	})
}

func TestPermanent(t *testing.T) {
	if outbox.Permanent(nil) != nil {
		t.Error("Permanent(nil) is an error")
	}
	if err := outbox.Permanent(context.Canceled); !errors.Is(err, context.Canceled) {
		t.Error("Permanent hides its cause")
	}
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		o := startProcess(t, outbox.Config{Store: store}, func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			return fmt.Errorf("send: %w", outbox.Permanent(errors.New("550")))
		})
		o.Dispatch(add(t, o, "job", time.Hour))
		pass(2 * time.Minute)
		if c.sum() != 1 || len(waiting(t, store)) != 0 {
			t.Errorf("%d calls, waiting %v; want one call and nothing left", c.sum(), waiting(t, store))
		}
	})
}

func TestExpiredIsDropped(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		var log bytes.Buffer
		o := startProcess(t, outbox.Config{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			func(ctx context.Context, p json.RawMessage) error { defer c.enter(p)(); return nil })
		add(t, o, "job", 20*time.Second) // and its maker dies
		pass(time.Minute)
		if c.sum() != 0 || len(waiting(t, store)) != 0 {
			t.Errorf("%d calls, waiting %v; want none", c.sum(), waiting(t, store))
		}
		o.stop()
		if !strings.Contains(log.String(), "expired") {
			t.Errorf("the log does not say that a job expired: %q", log.String())
		}
	})
}

func TestPanicIsAFailure(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		var log bytes.Buffer
		o := startProcess(t, outbox.Config{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			func(ctx context.Context, p json.RawMessage) error {
				defer c.enter(p)()
				if c.sum() == 1 {
					panic("code 123456")
				}
				return nil
			})
		o.Dispatch(add(t, o, "job", time.Hour))
		pass(time.Minute)
		if c.sum() != 2 || len(waiting(t, store)) != 0 {
			t.Errorf("%d calls, waiting %v; want a second one", c.sum(), waiting(t, store))
		}
		o.stop()
		if !strings.Contains(log.String(), "panicked") || strings.Contains(log.String(), "123456") {
			t.Errorf("the log of a panic: %q", log.String())
		}
	})
}

func TestAddTwice(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		o := startProcess(t, outbox.Config{Store: store}, func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			return nil
		})
		first, second := add(t, o, "job", time.Hour), add(t, o, "job", time.Hour)
		o.Dispatch(second)
		o.Dispatch(first)
		pass(2 * time.Minute)
		if c.sum() != 1 {
			t.Errorf("handled %d times", c.sum())
		}
	})
}

func TestDone(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		o := startProcess(t, outbox.Config{Store: store}, func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			return nil
		})
		if err := o.Done(t.Context(), add(t, o, "job", time.Hour)); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute)
		if c.sum() != 0 || len(waiting(t, store)) != 0 {
			t.Errorf("%d calls, waiting %v after Done", c.sum(), waiting(t, store))
		}
	})
}

func TestAddRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		o := newProcess(t, outbox.Config{Store: store}, func(context.Context, json.RawMessage) error { return nil })
		for name, job := range map[string]outbox.Job{
			"no handler": {ID: "a", Kind: "other", Expires: time.Now().Add(time.Hour)},
			"no expiry":  {ID: "a", Kind: kind},
			"expired":    {ID: "a", Kind: kind, Expires: time.Now()},
			"no id":      {Kind: kind, Expires: time.Now().Add(time.Hour)},
			"no JSON":    {ID: "a", Kind: kind, Payload: func() {}, Expires: time.Now().Add(time.Hour)},
		} {
			if _, err := o.Add(t.Context(), job); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		if ids := waiting(t, store); len(ids) != 0 {
			t.Errorf("refused and stored: %v", ids)
		}
	})
}

// A kind that only newer processes know waits for one of them.
func TestUnknownKindIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		old := startProcess(t, outbox.Config{Store: store}, func(context.Context, json.RawMessage) error { return nil })
		var c calls
		newer, err := outbox.New(outbox.Config{Store: store}, map[outbox.Kind]outbox.Handler{
			"newer": func(ctx context.Context, p json.RawMessage) error { defer c.enter(p)(); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newer.Add(t.Context(), outbox.Job{ID: "job", Kind: "newer", Expires: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute)
		if len(waiting(t, store)) != 1 {
			t.Fatal("an old process dropped a job that it does not know")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := newer.Run(ctx); err != nil || c.sum() != 1 {
			t.Errorf("the newer process handled it %d times, %v", c.sum(), err)
		}
		old.stop()
	})
}

func TestDispatchNeverBlocks(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		h := func(ctx context.Context, p json.RawMessage) error { defer c.enter(p)(); return nil }
		o := newProcess(t, outbox.Config{Store: store}, h)
		ticket := add(t, o, "job", time.Hour)
		for range 10_000 {
			o.Dispatch(ticket) // a bubble that blocks here fails with a deadlock
		}
	})
}

func TestNewRefuses(t *testing.T) {
	h := func(context.Context, json.RawMessage) error { return nil }
	store, _ := mortal(nil)
	for name, f := range map[string]func() (*outbox.Outbox, error){
		"no store": func() (*outbox.Outbox, error) { return outbox.New(outbox.Config{}, nil) },
		"no handler": func() (*outbox.Outbox, error) {
			return outbox.New(outbox.Config{Store: store}, map[outbox.Kind]outbox.Handler{"a": nil})
		},
		"no name": func() (*outbox.Outbox, error) {
			return outbox.New(outbox.Config{Store: store}, map[outbox.Kind]outbox.Handler{"": h})
		},
		"a timeout beyond the lease": func() (*outbox.Outbox, error) {
			return outbox.New(outbox.Config{Store: store, Timeout: time.Minute, Lease: time.Minute}, nil)
		},
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
