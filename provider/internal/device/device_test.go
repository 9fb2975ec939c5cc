package device_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/device"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

const (
	phone  = "the id of a phone"
	laptop = "the id of a laptop"
)

type world struct {
	*testing.T
	*device.Devices
	store storage.Store
	now   time.Time
	path  string
	count *storetest.Counter
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), path: filepath.Join(t.TempDir(), "test.db")}
	clock := func() time.Time { return w.now }
	raw, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: w.path, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	w.count = storetest.Count(storage.Scope(raw, "https://issuer.example"))
	w.store = w.count
	ring, err := secrets.New([]secrets.Secret{{ID: "a", Value: bytes.Repeat([]byte("a"), 32)}})
	if err != nil {
		t.Fatal(err)
	}
	if w.Devices, err = device.New(device.Config{Store: w.store, Secrets: ring, Now: clock}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) knows(id, identity string) bool {
	w.Helper()
	got, err := w.store.Get(w.Context(), w.Key(id))
	if err != nil {
		w.Fatal(err)
	}
	return w.Known(got[0], identity)
}

func (w *world) remember(id, identity string) {
	w.Helper()
	if err := w.Remember(w.Context(), id, identity); err != nil {
		w.Fatal(err)
	}
}

func TestKnownOnlyAfterASignIn(t *testing.T) {
	w := newWorld(t)
	if w.knows(phone, "ann") {
		t.Error("known before any sign-in")
	}
	w.remember(phone, "ann")
	for id, want := range map[string]bool{phone: true, laptop: false, "": false} {
		if got := w.knows(id, "ann"); got != want {
			t.Errorf("ann on %q: %t", id, got)
		}
	}
	if w.knows(phone, "bob") {
		t.Error("bob is known where ann signed in")
	}
}

// Ids that could be guessed, and those that are too long to be one, are nobody's.
func TestWhatIsNoID(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"", "short", "fifteen letters", strings.Repeat("x", 129)} {
		w.remember(id, "ann")
		if w.knows(id, "ann") {
			t.Errorf("%q is taken for the id of a device", id)
		}
	}
	if n := w.count.Calls("Put"); n != 0 {
		t.Errorf("%d writes for no device", n)
	}
}

// A device remembers the last eight people, and writes only what is news.
func TestForgetsTheOldest(t *testing.T) {
	w := newWorld(t)
	for i := range 8 {
		w.remember(phone, fmt.Sprint("person ", i))
	}
	w.remember(phone, "person 0")
	w.remember(phone, "person 8")
	for i, want := range []bool{true, false, true, true, true, true, true, true, true} {
		if got := w.knows(phone, fmt.Sprint("person ", i)); got != want {
			t.Errorf("person %d is known: %t", i, got)
		}
	}
	w.count.Reset()
	w.remember(phone, "person 8")
	if n := w.count.Calls("Put"); n != 0 {
		t.Errorf("%d writes of what is known", n)
	}
}

func TestForgetsInTime(t *testing.T) {
	w := newWorld(t)
	w.remember(phone, "ann")
	for range 30 { // a sign-in every ten days keeps it
		w.now = w.now.Add(10 * 24 * time.Hour)
		if !w.knows(phone, "ann") {
			t.Fatal("forgotten although it is used")
		}
		w.remember(phone, "ann")
	}
	w.now = w.now.Add(181 * 24 * time.Hour)
	if w.knows(phone, "ann") {
		t.Error("known after half a year")
	}
}

func TestParallelSignIns(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() { w.remember(phone, fmt.Sprint("person ", i)) })
	}
	wg.Wait()
	for i := range 6 {
		if !w.knows(phone, fmt.Sprint("person ", i)) {
			t.Errorf("person %d was lost", i)
		}
	}
}

func TestStoreHoldsNoNames(t *testing.T) {
	w := newWorld(t)
	w.remember(phone, "ann@example.com")
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(w.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(phone)) || bytes.Contains(raw, []byte("ann@example.com")) {
			t.Errorf("the database%s holds the device or who uses it", suffix)
		}
	}
}

// A damaged record costs the larger budget, not the sign-in.
func TestDamagedRecord(t *testing.T) {
	w := newWorld(t)
	if err := w.store.Put(t.Context(), storage.Record{Key: w.Key(phone), Value: []byte("x"), Version: storage.NewVersion()}); err != nil {
		t.Fatal(err)
	}
	if w.knows(phone, "ann") {
		t.Error("known by a record that says nothing")
	}
	w.remember(phone, "ann")
	if !w.knows(phone, "ann") {
		t.Error("not known after a sign-in")
	}
}
