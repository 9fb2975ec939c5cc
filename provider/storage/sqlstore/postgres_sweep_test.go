//go:build linux || darwin

package sqlstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lettergate/lettergate/provider/storage"
)

// Garbage goes by itself, a slice at a time, whoever made it; what is not yet old
// enough stays.
func TestPostgresSweep(t *testing.T) {
	at := shared.get(t).New(t)
	rows := func(t *testing.T) string {
		t.Helper()
		return strings.Join(query(t, at, `SELECT concat_ws(' ', (SELECT count(*) FROM {schema}.records),
			(SELECT count(*) FROM {schema}.members), (SELECT count(*) FROM {schema}.counters))`), "")
	}
	synctest.Test(t, func(t *testing.T) {
		maker, s := openPostgres(t, at, nil), openPostgres(t, at, nil)
		for i := range sweepSize {
			r := record(fmt.Sprint("short-", i), "some value that takes a little room", "g", fmt.Sprint("own-", i))
			r.Expires = time.Now().Add(time.Minute)
			if i%100 == 0 {
				r.Value = make([]byte, storage.MaxValueBytes)
			}
			_, err := maker.Add(t.Context(), storage.Key{Kind: storage.Counter, ID: r.Key.ID}, 1, time.Minute)
			if err := errors.Join(err, maker.Put(t.Context(), r)); err != nil {
				t.Fatal(err)
			}
		}
		long := record("long", "1", "g")
		long.Expires = time.Now().Add(time.Hour)
		for _, r := range []storage.Record{long, record("ever", "1", "g")} {
			if err := maker.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := maker.Close(); err != nil { // and leaves its garbage to others
			t.Fatal(err)
		}
		wait := func(d time.Duration) {
			<-time.After(d) // the bubble's clock
			synctest.Wait()
		}
		wait(3 * time.Minute)
		if err := s.Put(t.Context(), record("again", "1")); err != nil { // so that it looks
			t.Fatal(err)
		}
		wait(2*time.Minute + 50*time.Second)
		if got, want := rows(t), fmt.Sprintf("%d %d %d", sweepSize+3, 2*sweepSize+2, sweepSize); got != want {
			t.Errorf("records, members and counters before they are old enough: %s, want %s", got, want)
		}
		wait(7 * time.Minute) // in which it looks though it has written nothing
		if got := rows(t); got != "3 2 0" {
			t.Errorf("records, members and counters that are left: %s, want 3 2 0", got)
		}
		if listed, _, err := s.List(t.Context(), "g", storage.Page{}); err != nil || len(listed) != 2 {
			t.Errorf("List = %d records, %v", len(listed), err)
		}
		if len(query(t, at, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'")) > 0 {
			t.Error("a transaction was left open")
		}
	})
	consistent(t, at)
}

// What somebody else holds is passed over.
func TestPostgresSweepPassesOver(t *testing.T) {
	at := shared.get(t).New(t)
	s := openPostgres(t, at, nil)
	for i := range 3 {
		r := record(fmt.Sprint(i), "1", "g")
		r.Expires = time.Now().Add(-time.Hour)
		_, err := s.Add(t.Context(), storage.Key{Kind: storage.Counter, ID: r.Key.ID}, 1, time.Millisecond)
		if err := errors.Join(err, s.Put(t.Context(), r)); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range []string{
		"BEGIN",
		"UPDATE lettergate.records SET value = value WHERE id = '1'",
		"UPDATE lettergate.counters SET value = value WHERE id = '1'",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		return strings.Join(query(t, at, `SELECT concat_ws(' ', (SELECT count(*) FROM {schema}.records),
			(SELECT count(*) FROM {schema}.members), (SELECT count(*) FROM {schema}.counters))`), "")
	}
	now := time.Now().Add(time.Hour).UnixMilli()
	query(t, at, "ALTER DATABASE "+query(t, at, "SELECT current_database()")[0]+" SET lock_timeout = '1s'")
	query(t, at, "SELECT {schema}.sweep($1, 10, 1000)", now)
	if got := left(); got != "1 1 1" {
		t.Errorf("records, members and counters that are left: %s, want the one that is held", got)
	}
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	query(t, at, "SELECT {schema}.sweep($1, 10, 1000)", now)
	if got := left(); got != "0 0 0" {
		t.Errorf("records, members and counters that are left: %s", got)
	}
}

// Writers, removers and two sweepers at the same records: none waits for another
// in a circle, and nothing is left behind.
func TestPostgresSweepBeside(t *testing.T) {
	at := shared.get(t).New(t)
	var moved atomic.Int64 // beside the clock, so that records expire at once
	now := func() time.Time { return time.Now().Add(time.Duration(moved.Load())) }
	one, two := openPostgres(t, at, now), openPostgres(t, at, now)
	var wg sync.WaitGroup
	for w := range 8 {
		s := one
		if w%2 == 1 {
			s = two
		}
		conn, err := pgx.Connect(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		wg.Go(func() {
			for range mixRounds {
				id := fmt.Sprint(rand.N(5))
				r := record(id, strings.Repeat("v", rand.N(3000)), "g", "own-"+id, fmt.Sprint("some-", rand.N(3)))
				r.Sort = rand.Int64N(10)
				if r.Expires = now().Add(time.Minute); rand.N(2) == 0 {
					r.Expires = now().Add(-time.Hour)
				}
				got, err := s.Get(t.Context(), r.Key)
				if err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				if !got[0].IsZero() {
					r.Prev, r.Groups = got[0].Version, got[0].Groups
				}
				if err := s.Put(t.Context(), r); err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrInvalid) {
					t.Errorf("Put: %v", err)
				}
				switch rand.N(4) {
				case 0:
					err = s.Delete(t.Context(), r.Key)
				case 1:
					_, err = s.Add(t.Context(), storage.Key{Kind: storage.Counter, ID: id}, 1, time.Millisecond)
				case 2:
					_, err = conn.Exec(t.Context(), "SELECT lettergate.sweep($1, 3, 1000)", now().UnixMilli())
				default:
					_, _, err = s.List(t.Context(), "g", storage.Page{})
				}
				if err != nil {
					t.Errorf("beside others: %v", err)
				}
			}
		})
	}
	wg.Wait()
	consistent(t, at)
	moved.Add(int64(time.Hour))
	for query(t, at, "SELECT {schema}.sweep($1, 3, 1000)", now().UnixMilli())[0] == "true" {
	}
	if got := query(t, at, `SELECT concat_ws(' ', (SELECT count(*) FROM {schema}.records),
		(SELECT count(*) FROM {schema}.members), (SELECT count(*) FROM {schema}.counters))`); got[0] != "0 0 0" {
		t.Errorf("records, members and counters that are left: %s", got[0])
	}
}
