package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/storage"
)

// What is in a handler's hands when the process has to end is finished; what
// waits stays in the store.
func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		o := startProcess(t, outbox.Config{Store: store, Workers: 2}, func(ctx context.Context, p json.RawMessage) error {
			defer c.enter(p)()
			select {
			case <-time.After(10 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for i := range 10 {
			o.Dispatch(add(t, o, fmt.Sprint("job ", i), time.Hour))
		}
		pass(time.Second)
		begin := time.Now()
		if err := o.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(begin); took != 9*time.Second {
			t.Errorf("Run took %s to end, want the 9 s that the handlers needed", took)
		}
		if c.sum() != 2 || len(waiting(t, store)) != 8 {
			t.Errorf("%d handled, %d waiting; want 2 and 8", c.sum(), len(waiting(t, store)))
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name   string
		deaf   bool
		within time.Duration
	}{
		{"a handler that heeds its context", false, 15 * time.Second},
		{"one that does not", true, 20 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, store storage.Store) {
				release := make(chan struct{})
				o := startProcess(t, outbox.Config{Store: store}, func(ctx context.Context, p json.RawMessage) error {
					if tc.deaf {
						<-release
					}
					<-ctx.Done()
					return ctx.Err()
				})
				o.Dispatch(add(t, o, "job", time.Hour))
				pass(time.Second)
				begin := time.Now()
				err := o.stop()
				if took := time.Since(begin); took != tc.within || (err != nil) != tc.deaf {
					t.Errorf("Run returned %v after %s, want it after %s", err, took, tc.within)
				}
				close(release)
				synctest.Wait()
				if len(waiting(t, store)) != 1 {
					t.Error("a job that was not done is gone")
				}
			})
		})
	}
}

// An outage of the store ends nothing, and is logged when it begins and ends.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		var c calls
		var log bytes.Buffer
		mine, lost := mortal(store)
		o := startProcess(t, outbox.Config{Store: mine, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			func(ctx context.Context, p json.RawMessage) error { defer c.enter(p)(); return nil })
		add(t, o, "job", time.Hour)
		lost.Store(true)
		pass(10 * time.Minute)
		if c.sum() != 0 {
			t.Error("handled without a store")
		}
		lost.Store(false)
		pass(10 * time.Second)
		if c.sum() != 1 || len(waiting(t, store)) != 0 {
			t.Errorf("handled %d times after the outage", c.sum())
		}
		o.stop()
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d log lines for one outage: %s", n, log.String())
		}
	})
}

func TestRunTwice(t *testing.T) {
	bubble(t, func(t *testing.T, store storage.Store) {
		o := startProcess(t, outbox.Config{Store: store}, func(context.Context, json.RawMessage) error { return nil })
		synctest.Wait()
		if err := o.Run(t.Context()); err == nil {
			t.Error("a second Run was allowed")
		}
	})
}
