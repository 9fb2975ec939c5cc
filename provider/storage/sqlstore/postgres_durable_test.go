//go:build linux || darwin

package sqlstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/servertest"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// A commit of an account waits for the disk though the server is told not to, and
// no other does. The setting that counts is the one at the end of a transaction,
// so it is noted by a trigger that runs there.
func TestPostgresAccountsAreSynced(t *testing.T) {
	at := shared.get(t).New(t)
	s := openPostgres(t, with(t, at, "synchronous_commit=off"), nil)
	query(t, at, "CREATE TABLE {schema}.noted (op text, kind text, setting text)")
	query(t, at, `CREATE FUNCTION {schema}.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO {schema}.noted VALUES (TG_OP, coalesce(NEW.kind, OLD.kind), current_setting('synchronous_commit'));
		RETURN NULL;
	END $$`)
	query(t, at, `CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {schema}.records
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.note()`)
	var want []string
	for _, kind := range []storage.Kind{
		storage.User, storage.Grant, storage.Email, storage.Session, storage.Username, storage.Epoch,
		storage.Consent, storage.Outbox, storage.Client, storage.Replay, storage.Keys, storage.Lease,
	} {
		r := record("a", "1", "g")
		r.Key.Kind = kind
		next := r
		next.Prev, next.Version = r.Version, storage.NewVersion()
		if err := errors.Join(s.Put(t.Context(), r), s.Put(t.Context(), next), s.Delete(t.Context(), r.Key)); err != nil {
			t.Fatal(err)
		}
		setting := "off"
		if kind.Account() {
			setting = "on"
		}
		for _, op := range []string{"INSERT", "UPDATE", "DELETE"} {
			want = append(want, fmt.Sprint(op, " ", kind, " ", setting))
		}
	}
	got := query(t, at, "SELECT concat_ws(' ', op, kind, setting) FROM {schema}.noted")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("noted were\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// FT-18: whatever was acknowledged of accounts outlives a crash of the whole
// server that keeps commits in its memory for as long as it may.
func TestPostgresKill(t *testing.T) {
	server := servertest.Postgres(t, "synchronous_commit = off", "wal_writer_delay = 10s", "wal_writer_flush_after = 2GB", "fsync = on")
	at := server.New(t)
	s := openPostgres(t, at, nil)
	var total, lost int
	for round := range killRounds {
		var mu sync.Mutex
		acknowledged := map[storage.Key]storage.Version{}
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				var last storage.Record
				for i := 0; ; i++ {
					r := record(fmt.Sprintf("%d-%d-%d", round, w, i), "1", "g")
					if i%2 == 0 {
						r.Key.Kind = storage.User
					}
					if i%5 == 4 { // one that is replaced
						r.Key, r.Prev = last.Key, last.Version
					}
					if err := s.Put(t.Context(), r); err != nil {
						if !errors.Is(err, storage.ErrUnavailable) {
							t.Errorf("Put while the server is killed: %v", err)
						}
						return
					}
					last = r
					mu.Lock()
					acknowledged[r.Key] = r.Version
					mu.Unlock()
				}
			})
		}
		<-time.After(100*time.Millisecond + rand.N(200*time.Millisecond))
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		works(t, s)
		for key, version := range acknowledged {
			got, err := s.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Version == version {
				continue
			}
			if lost++; key.Kind.Account() && got[0].IsZero() {
				t.Fatalf("round %d: %v was acknowledged and is gone", round, key)
			}
		}
		total += len(acknowledged)
		consistent(t, at)
	}
	t.Logf("%d acknowledged records in %d kills; %d were lost, and none of accounts", total, killRounds, lost)
	if total == 0 {
		t.Error("no record was acknowledged")
	}
}

// A server that promises its replicas and has none: what is there is not what was
// promised, and nobody is told that it is.
func TestPostgresReplicasMissing(t *testing.T) {
	server := servertest.Postgres(t)
	at := server.New(t)
	s := openPostgres(t, at, nil)
	setting := func(value string) {
		t.Helper()
		for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + value + "'", "SELECT pg_reload_conf()"} {
			if _, err := server.Query(server.AdminURL, sql); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the server knows its replicas", func() bool { return query(t, at, "SHOW synchronous_standby_names")[0] == value })
	}
	setting("nobody")
	// Each process of the server reads its settings when it has time.
	n := 0
	eventually(t, "commits wait for replicas", func() bool {
		n++
		return errors.Join(s.Ping(t.Context()), s.Put(t.Context(), record(fmt.Sprint(n), "1"))) != nil
	})

	r := record("a", "1", "g")
	begin := time.Now()
	reads := storetest.Count(s)
	err := storage.Settle(t.Context(), reads, r)
	if !errors.Is(err, storage.ErrNotDurable) || !errors.Is(err, storage.ErrUnavailable) || reads.Calls("Get") != 0 {
		t.Errorf("Settle without replicas = %v after %d reads, want ErrNotDurable and ErrUnavailable after none", err, reads.Calls("Get"))
	}
	if took := time.Since(begin); took > late {
		t.Errorf("Settle took %v", took)
	}
	eventually(t, "what was not replicated is there", func() bool {
		got, err := s.Get(t.Context(), r.Key)
		return err == nil && got[0].Version == r.Version
	})
	if err := s.Put(t.Context(), r); !errors.Is(err, storage.ErrNotDurable) {
		t.Errorf("Put again without replicas = %v, want ErrNotDurable", err)
	}
	if err := s.Delete(t.Context(), r.Key); !errors.Is(err, storage.ErrNotDurable) {
		t.Errorf("Delete without replicas = %v, want ErrNotDurable", err)
	}

	// An administrator who ends the wait does not make it true.
	done := make(chan error, 1)
	go func() { done <- s.Put(t.Context(), record("b", "1")) }()
	var told error
	eventually(t, "Put is answered", func() bool {
		query(t, at, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()")
		select {
		case told = <-done:
			return true
		default:
			return false
		}
	})
	if !errors.Is(told, storage.ErrNotDurable) || !errors.Is(told, storage.ErrUnavailable) {
		t.Errorf("Put whose wait was ended = %v, want ErrNotDurable and ErrUnavailable", told)
	}

	setting("")
	works(t, s)
	if err := s.Put(t.Context(), record("c", "1")); err != nil {
		t.Errorf("Put without a promise = %v", err)
	}
}
