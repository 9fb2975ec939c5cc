package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// locked returns a store whose file another connection holds until release.
func locked(t *testing.T) (s *sqlstore.Store, release func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	s = openAt(t, path)
	t.Cleanup(func() { s.Close() })
	conn, err := raw(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return s, func() {
		if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

func TestBusyFile(t *testing.T) {
	s, release := locked(t)
	r := record("a", "1")
	begin := time.Now()
	if err := s.Put(t.Context(), r); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Put while another process writes = %v, want ErrUnavailable", err)
	}
	if took := time.Since(begin); took < 500*time.Millisecond || took > 5*time.Second {
		t.Errorf("Put gave up after %v, want about 800ms", took)
	}
	if got, err := s.Get(t.Context(), r.Key); err != nil || !got[0].IsZero() {
		t.Errorf("Get while another process writes = %v, %v", got, err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Ping while another process writes = %v, want ErrUnavailable", err)
	}
	release()
	if err := errors.Join(s.Put(t.Context(), r), s.Ping(t.Context())); err != nil {
		t.Errorf("after the lock: %v", err)
	}
}

// A caller whose context ends does not wait for the lock that the writer waits for.
func TestCallerLeaves(t *testing.T) {
	s, release := locked(t)
	var wg sync.WaitGroup
	var took [8]time.Duration
	for i := range took { // one is with the writer, the others stand before it
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			begin := time.Now()
			_, err := s.Add(ctx, storage.Key{Kind: storage.Counter, ID: "a"}, 1, time.Hour)
			took[i] = time.Since(begin)
			if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Add = %v, want ErrUnavailable and the context's error", err)
			}
		})
	}
	wg.Wait()
	for _, d := range took {
		if d > 500*time.Millisecond { // the busy timeout is 800ms
			t.Errorf("a caller with a 30ms deadline waited %v", d)
		}
	}
	release()
	// Nothing is done for those who left before it began.
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := s.Add(t.Context(), storage.Key{Kind: storage.Counter, ID: "a"}, 0, time.Hour); err != nil || n > 1 {
		t.Errorf("Add = %d, %v: calls were made for callers that were gone", n, err)
	}
}

// batch makes calls that the writer finds waiting, all at once.
func batch(t *testing.T, path string, calls ...func() error) []error {
	t.Helper()
	conn, err := raw(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	errs := make([]error, len(calls))
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(func() { errs[i] = call() })
	}
	// Enough for them to stand before the writer; if not, the test is only weaker.
	<-time.After(100 * time.Millisecond)
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return errs
}

// A call that fails takes nobody with it, unless the database ends the whole
// transaction; then nobody is told that his call succeeded.
func TestFailureInBatch(t *testing.T) {
	for _, c := range []struct {
		raise string
		alone bool
	}{{"ABORT", true}, {"FAIL", true}, {"ROLLBACK", false}} {
		t.Run(c.raise, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			s := openAt(t, path)
			defer s.Close()
			execute(t, raw(t, path), `CREATE TRIGGER poison AFTER INSERT ON members WHEN NEW.name = CAST('poison' AS BLOB)
				BEGIN SELECT RAISE(`+c.raise+`, 'poisoned'); END`)
			var calls []func() error
			var records []storage.Record
			for i := range 20 {
				r := record(fmt.Sprint(i), "1", "g", fmt.Sprint("group ", i))
				if i == 7 {
					r.Groups = []string{"g", "poison"}
				}
				records = append(records, r)
				calls = append(calls, func() error { return s.Put(t.Context(), r) })
			}
			errs := batch(t, path, calls...)
			for i, err := range errs {
				got, getErr := s.Get(t.Context(), records[i].Key)
				if getErr != nil {
					t.Fatal(getErr)
				}
				if stored := !got[0].IsZero(); stored != (err == nil) {
					t.Errorf("call %d was told %v, and its record is stored: %v", i, err, stored)
				}
				if i == 7 && err == nil || i != 7 && c.alone && err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			}
			listed, _, err := s.List(t.Context(), "g", storage.Page{})
			if err != nil {
				t.Fatal(err)
			}
			if c.alone && len(listed) != 19 {
				t.Errorf("%d records are listed, want 19", len(listed))
			}
			// And the writer goes on.
			if err := s.Put(t.Context(), record("later", "1", "g")); err != nil {
				t.Errorf("Put after the failure: %v", err)
			}
		})
	}
}

// Close answers whoever the writer has taken, and refuses the rest.
func TestCloseDrains(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path)
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[storage.Key]bool{}
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				r := record(fmt.Sprint(w, "-", i), "1")
				if err := s.Put(context.Background(), r); err != nil {
					if !errors.Is(err, storage.ErrUnavailable) {
						t.Errorf("Put while closing: %v", err)
					}
					return
				}
				mu.Lock()
				acknowledged[r.Key] = true
				mu.Unlock()
			}
		})
	}
	<-time.After(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	wg.Wait()
	s = openAt(t, path)
	defer s.Close()
	for key := range acknowledged {
		if got, err := s.Get(t.Context(), key); err != nil || got[0].IsZero() {
			t.Fatalf("%v was acknowledged and is gone: %v", key, err)
		}
	}
}

// Two stores on one file are as two processes.
func TestTwoStoresOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	stores := []*sqlstore.Store{openAt(t, path), openAt(t, path)}
	key := storage.Key{Kind: storage.Counter, ID: "a"}
	var wg sync.WaitGroup
	const each = 100
	for _, s := range stores {
		defer s.Close()
		for w := range 4 {
			wg.Go(func() {
				for i := range each {
					if _, err := s.Add(t.Context(), key, 1, time.Hour); err != nil {
						t.Errorf("Add %d of %d: %v", i, w, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	if n, err := stores[0].Add(t.Context(), key, 0, time.Hour); err != nil || n != 8*each {
		t.Errorf("counted %d, %v; want %d", n, err, 8*each)
	}
	for round := range 20 {
		r := record(fmt.Sprint(round), "1")
		winners := make(chan error, 8)
		for i := range 8 {
			wg.Go(func() {
				mine := r
				mine.Version = storage.NewVersion()
				winners <- stores[i%2].Put(t.Context(), mine)
			})
		}
		wg.Wait()
		won := 0
		for range 8 {
			if err := <-winners; err == nil {
				won++
			} else if !errors.Is(err, storage.ErrConflict) {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if won != 1 {
			t.Errorf("round %d had %d winners", round, won)
		}
	}
}

// Garbage goes by itself, a slice at a time; what is not yet old enough stays.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		s := openAt(t, path)
		defer s.Close()
		const n = 1000
		for i := range n {
			r := record(fmt.Sprint("short-", i), "some value that takes a little room", "g", fmt.Sprint("own-", i))
			r.Expires = time.Now().Add(time.Minute)
			if i%100 == 0 {
				r.Value = make([]byte, storage.MaxValueBytes)
			}
			_, err := s.Add(t.Context(), storage.Key{Kind: storage.Counter, ID: r.Key.ID}, 1, time.Minute)
			if err := errors.Join(err, s.Put(t.Context(), r)); err != nil {
				t.Fatal(err)
			}
		}
		long := record("long", "1", "g")
		long.Expires = time.Now().Add(time.Hour)
		for _, r := range []storage.Record{long, record("ever", "1", "g")} {
			if err := s.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		rows := func() (records, members, counters, pages int) {
			t.Helper()
			db := raw(t, path)
			defer db.Close()
			err := db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM members),
				(SELECT count(*) FROM counters), (SELECT page_count FROM pragma_page_count)`).Scan(&records, &members, &counters, &pages)
			if err != nil {
				t.Fatal(err)
			}
			return records, members, counters, pages
		}
		wait := func(d time.Duration) {
			<-time.After(d) // the bubble's clock
			synctest.Wait()
		}
		wait(5 * time.Minute)
		if records, _, counters, _ := rows(); records != n+2 || counters != n {
			t.Errorf("%d records and %d counters are left 4 minutes after they expired", records, counters)
		}
		_, _, _, before := rows()
		wait(2 * time.Minute)
		// The timer runs after writes only.
		if err := s.Put(t.Context(), record("again", "1")); err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Minute)
		records, members, counters, after := rows()
		if records != 3 || members != 2 || counters != 0 {
			t.Errorf("left are %d records, %d members, %d counters; want 3, 2, 0", records, members, counters)
		}
		if after > before/4 {
			t.Errorf("the file has %d pages, before the collection %d", after, before)
		}
		if listed, _, err := s.List(t.Context(), "g", storage.Page{}); err != nil || len(listed) != 2 {
			t.Errorf("List = %d records, %v", len(listed), err)
		}
	})
}
