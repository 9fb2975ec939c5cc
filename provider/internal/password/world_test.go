package password_test

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/device"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

const (
	right = "correct horse 1"
	phone = "the phone of Ann, 128 bits" // a device id
	ann   = "ann@example.com"
)

// clock stands still until it is told otherwise.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// A world is a Service on a real store, and what the store was asked.
type world struct {
	*testing.T
	*password.Service
	clock *clock
	store storage.Store
	ring  *secrets.Ring
	calls *calls
}

// calls are the calls of a store, and which of them fail.
type calls struct {
	mu   sync.Mutex
	ops  []storetest.Op
	fail func(storetest.Op) error
}

func (c *calls) each(op storetest.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops = append(c.ops, op)
	if c.fail != nil {
		return c.fail(op)
	}
	return nil
}

func (c *calls) failing(fail func(storetest.Op) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

// take returns the names of the calls since it was last called.
func (c *calls) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, op := range c.ops {
		names = append(names, op.Name+" "+string(op.Key.Kind))
	}
	c.ops = nil
	return strings.Join(names, ", ")
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// small are the cheapest parameters there are.
func small() password.Config { return password.Config{Memory: 8, Iterations: 1} }

func newWorld(t *testing.T, cfg password.Config) *world {
	t.Helper()
	w := &world{T: t, clock: &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, calls: &calls{}}
	raw := must(sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "test.db"), Now: w.clock.Now}))(t)
	t.Cleanup(func() { raw.Close() })
	w.store = storage.Scope(raw, "https://id.example")
	w.ring = must(secrets.New([]secrets.Secret{{ID: "a", Value: []byte(strings.Repeat("a", 32))}}))(t)
	w.Service = w.service(cfg)
	return w
}

// service is another Service on w's store, whose calls are noted.
func (w *world) service(cfg password.Config) *password.Service {
	w.Helper()
	cfg.Now = w.clock.Now
	seen := storetest.Faulty(w.store, w.calls.each)
	devices := must(device.New(device.Config{Store: seen, Secrets: w.ring, Now: w.clock.Now}))(w)
	return must(password.New(cfg, password.Deps{Store: seen, Secrets: w.ring, Devices: devices}))(w)
}

// beside is a Service of another process, whose calls are not noted.
func (w *world) beside(cfg password.Config) *password.Service {
	w.Helper()
	other := *w
	other.calls = &calls{}
	return other.service(cfg)
}

// set gives the subject a password.
func (w *world) set(subject, value string) {
	w.Helper()
	hash := must(w.Hash(w.Context(), value))(w)
	if err := w.Set(w.Context(), subject, hash, time.Time{}); err != nil {
		w.Fatal(err)
	}
}

// stored is the record of the subject's password.
func (w *world) stored(subject string) storage.Record {
	w.Helper()
	return must(w.store.Get(w.Context(), storage.Key{Kind: storage.Password, ID: subject}))(w)[0]
}

// plant puts a value where the subject's password is.
func (w *world) plant(subject, value string) {
	w.Helper()
	_, err := storage.Update(w.Context(), w.store, storage.Key{Kind: storage.Password, ID: subject}, func(storage.Record) (storage.Record, error) {
		return storage.Record{Value: []byte(value)}, nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// try is a try of the account ann, from the n-th of many networks.
func try(value string, n int) password.Try {
	return password.Try{Subject: "ann", Identity: ann, Password: value, Source: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})}
}

func onPhone(t password.Try) password.Try {
	t.DeviceID = phone
	return t
}

// Verify tries, without the state.
func (w *world) Verify(ctx context.Context, t password.Try) error {
	_, err := w.Service.Verify(ctx, t)
	return err
}

// verify tries and wants an error, or nil; an error of this package without
// anything added.
func (w *world) verify(t password.Try, want error) {
	w.Helper()
	err := w.Verify(w.Context(), t)
	if !errors.Is(err, want) || err != nil && err.Error() != want.Error() {
		w.Fatalf("Verify = %v; want %v", err, want)
	}
}
