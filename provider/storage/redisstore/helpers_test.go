package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// slowest is how long a call may take whatever Redis does: the store's own limit and
// what a busy machine adds.
const slowest = 1200 * time.Millisecond

func record(id, value string, groups ...string) storage.Record {
	return storage.Record{
		Key: storage.Key{Kind: storage.Grant, ID: id}, Groups: groups, Value: []byte(value), Version: storage.NewVersion(),
	}
}

// next returns r as its successor.
func next(r storage.Record, value string) storage.Record {
	r.Value = []byte(value)
	r.Prev, r.Version = r.Version, storage.NewVersion()
	return r
}

func counter(id string) storage.Key { return storage.Key{Kind: storage.Counter, ID: id} }

func put(t testing.TB, s storage.Store, r storage.Record) storage.Record {
	t.Helper()
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return r
}

// version returns what is stored under key.
func version(t testing.TB, s storage.Store, key storage.Key) storage.Version {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return got[0].Version
}

// listed walks a group and returns the ids.
func listed(t testing.TB, s storage.Store, group string, limit int) []string {
	t.Helper()
	var ids []string
	for after := ""; ; {
		records, next, err := s.List(t.Context(), group, storage.Page{After: after, Limit: limit})
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		for _, r := range records {
			ids = append(ids, r.Key.ID)
		}
		if after = next; after == "" {
			return ids
		}
	}
}

// calls is every method of s that asks a server, by its name.
func calls(s storage.Store) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, record("a", "").Key); return err },
		"Put":    func(ctx context.Context) error { return s.Put(ctx, record("a", "1", "g")) },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, record("a", "").Key) },
		"List":   func(ctx context.Context) error { _, _, err := s.List(ctx, "g", storage.Page{}); return err },
		"Add":    func(ctx context.Context) error { _, err := s.Add(ctx, counter("a"), 1, time.Hour); return err },
		"Ping":   func(ctx context.Context) error { return s.Ping(ctx) },
	}
}

// allFail makes every call of s at the same time, several times each, and checks that
// each fails with ErrUnavailable within slowest.
func allFail(t *testing.T, s storage.Store) {
	t.Helper()
	var wg sync.WaitGroup
	for name, call := range calls(s) {
		for range 4 {
			wg.Go(func() {
				begin := time.Now()
				err := call(t.Context())
				if took := time.Since(begin); took > slowest {
					t.Errorf("%s took %v", name, took)
				}
				if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("%s = %v, want ErrUnavailable", name, err)
				}
			})
		}
	}
	wg.Wait()
}

// eventually calls ok until it is true, at most patience.
func eventually(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// recovers checks that s works again within five seconds.
func recovers(t *testing.T, s storage.Store) {
	t.Helper()
	eventually(t, 5*time.Second, "the store works again", func() bool { return s.Ping(t.Context()) == nil })
	// And it goes on working, whichever connection a call gets.
	for i := range 100 {
		r := record(fmt.Sprint("recovered-", storage.NewVersion(), i), "1", "recovered")
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatalf("Put %d after the recovery: %v", i, err)
		}
	}
}

func redisURL(addr string) string { return "redis://" + addr }

func clusterURL(c *servertest.Cluster) string { return "redis+cluster://" + strings.Join(c.Addrs, ",") }

// refuses checks that a store at url cannot be opened, with an error of the kind that
// says all of says and no password.
func refuses(t *testing.T, url string, kind error, says ...string) {
	t.Helper()
	var err error
	for range 3 {
		var s *redisstore.Store
		begin := time.Now()
		if s, err = redisstore.Open(t.Context(), redisstore.Config{URL: url}); err == nil {
			s.Close()
			t.Fatal("Open succeeded")
		}
		if took := time.Since(begin); took > 2*slowest {
			t.Errorf("Open took %v", took)
		}
		if kind == storage.ErrUnavailable || !errors.Is(err, storage.ErrUnavailable) {
			break // and not a machine that is too busy to answer in time
		}
	}
	if !errors.Is(err, kind) {
		t.Errorf("Open = %v, want %v", err, kind)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("Open = %v; it does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("Open = %v; it shows the password", err)
	}
}

// secret is the password of the tests.
const secret = "hunter2"

// command runs a command on a server, behind the store's back.
func command(t testing.TB, s *servertest.Server, args ...string) any {
	t.Helper()
	answer, err := s.Command(args...)
	if err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
	return answer
}

// keys returns the keys of a server.
func keys(t testing.TB, s *servertest.Server, pattern string) []string {
	t.Helper()
	var all []string
	for _, key := range command(t, s, "KEYS", pattern).([]any) {
		all = append(all, key.(string))
	}
	return all
}

// replicaOf starts a replica that confirms what the server writes.
func replicaOf(t testing.TB, s *servertest.Server) *servertest.Server {
	t.Helper()
	replica := s.Replica(t)
	confirm(t, s, 1)
	return replica
}

// confirm returns when n replicas of s confirm what s writes.
func confirm(t testing.TB, s *servertest.Server, n int) {
	t.Helper()
	eventually(t, 10*time.Second, "the replicas confirm", func() bool {
		c, err := s.Dial()
		if err != nil {
			return false
		}
		defer c.Close()
		if _, err := c.Do("SET", "for the replica", "1"); err != nil {
			return false
		}
		got, err := c.Do("WAIT", strconv.Itoa(n), "100")
		return err == nil && got == int64(n)
	})
}
