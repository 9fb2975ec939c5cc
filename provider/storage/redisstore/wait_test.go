package redisstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// With wait, a write that no replica has is not acknowledged.
func TestWait(t *testing.T) {
	master := servertest.Redis(t)
	replica := replicaOf(t, master)
	s := open(t, redisURL(master.Addr)+"?wait=1", nil)
	exercise(t, s)
	old := put(t, s, record("a", "1", "g"))
	gone := put(t, s, record("gone", "1", "g"))
	if err := replica.Pause(); err != nil {
		t.Fatal(err)
	}
	r := next(old, "2")
	for name, write := range map[string]func() error{
		"Put":            func() error { return s.Put(t.Context(), r) },
		"the same Put":   func() error { return s.Put(t.Context(), r) },
		"Delete":         func() error { return s.Delete(t.Context(), gone.Key) },
		"Add":            func() error { _, err := s.Add(t.Context(), counter("a"), 1, time.Hour); return err },
		"Ping":           func() error { return s.Ping(t.Context()) },
		"a settled Put":  func() error { return storage.Settle(t.Context(), s, r) },
		"a new one":      func() error { return s.Put(t.Context(), record("b", "1", "g")) },
		"without groups": func() error { return s.Put(t.Context(), record("c", "1")) },
	} {
		begin := time.Now()
		err := write()
		if took := time.Since(begin); took > slowest {
			t.Errorf("%s took %v", name, took)
		}
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s that no replica has = %v, want ErrUnavailable", name, err)
		}
		if name != "Ping" && !errors.Is(err, storage.ErrNotDurable) {
			t.Errorf("%s that no replica has = %v, want ErrNotDurable", name, err)
		}
	}
	// A refusal is no write, and reading needs no replica.
	if err := s.Put(t.Context(), next(old, "3")); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Put over another version = %v, want ErrConflict", err)
	}
	if version(t, s, r.Key) != r.Version {
		t.Error("Get does not see what the master has")
	}
	refuses(t, redisURL(master.Addr)+"?wait=1", storage.ErrUnavailable, "0 of 1 replicas")
	if err := replica.Resume(); err != nil {
		t.Fatal(err)
	}
	recovers(t, s)
	if err := s.Put(t.Context(), r); err != nil {
		t.Errorf("the same Put when the replica is back = %v", err)
	}
	refuses(t, redisURL(master.Addr)+"?wait=2", storage.ErrUnavailable, "1 of 2 replicas")
}

// What is repeated is written again, because the first time may have reached no replica,
// and WAIT waits for what its own connection has written.
func TestWaitWritesAgain(t *testing.T) {
	master := servertest.Redis(t)
	replicaOf(t, master)
	s := open(t, redisURL(master.Addr)+"?wait=1", nil)
	// What WAIT itself sends to replicas counts as written too, so look at the commands.
	written := func() string {
		var all []string
		for line := range strings.Lines(command(t, master, "INFO", "commandstats").(string)) {
			name, rest, _ := strings.Cut(line, ":calls=")
			if calls, _, _ := strings.Cut(rest, ","); name == "cmdstat_set" || name == "cmdstat_setrange" {
				all = append(all, name+" "+calls)
			}
		}
		return strings.Join(all, ", ")
	}
	r := put(t, s, record("a", "1", "g"))
	for name, again := range map[string]func() error{
		"Put":                func() error { return s.Put(t.Context(), r) },
		"Delete of nothing":  func() error { return s.Delete(t.Context(), record("nobody", "").Key) },
		"Delete of no count": func() error { return s.Delete(t.Context(), counter("nobody")) },
	} {
		before := written()
		if err := again(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if written() == before {
			t.Errorf("%s wrote nothing", name)
		}
	}
	if version(t, s, r.Key) != r.Version {
		t.Error("the record is another one")
	}
	if left := keys(t, master, "lettergate:*nobody*"); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// FT-06: a failover loses what no replica had. With wait nobody was told that it was
// stored; without, somebody was, and that is documented.
func TestFailoverLosesNothingAcknowledged(t *testing.T) {
	for _, wait := range []int{0, 1} {
		t.Run(fmt.Sprint("wait ", wait), func(t *testing.T) {
			master := servertest.Redis(t)
			replica := replicaOf(t, master)
			proxy := servertest.NewProxy(t, master.Addr) // between the two
			host, port, _ := strings.Cut(proxy.Addr, ":")
			command(t, replica, "REPLICAOF", host, port)
			s := open(t, redisURL(master.Addr), nil)
			unused := put(t, s, record("code", "unused", "g"))
			confirm(t, master, 1)
			s = open(t, fmt.Sprintf("%s?wait=%d", redisURL(master.Addr), wait), nil)

			proxy.Silent()
			used := next(unused, "used")
			told := storage.Settle(t.Context(), s, used)
			if err := master.Kill(); err != nil {
				t.Fatal(err)
			}
			command(t, replica, "REPLICAOF", "NO", "ONE")
			promoted := open(t, redisURL(replica.Addr), nil)
			switch v := version(t, promoted, used.Key); {
			case v != unused.Version:
				t.Errorf("the use that no replica had is %x there, so this tests nothing", v)
			case wait == 0 && told != nil:
				t.Errorf("without wait, Settle = %v", told)
			case wait > 0 && (!errors.Is(told, storage.ErrNotDurable) || !errors.Is(told, storage.ErrUnavailable)):
				t.Errorf("a use is lost, and Settle = %v, want ErrNotDurable", told)
			}
		})
	}
}

// In a cluster each key's own master waits for its own replicas, and entries in groups
// are waited for as well.
func TestWaitInCluster(t *testing.T) {
	c := shared.cluster
	url := fmt.Sprintf("%s?prefix=%d:", clusterURL(c), shared.stores.Add(1))
	refuses(t, url+"&wait=1", storage.ErrUnavailable, "0 of 1 replicas")
	s := open(t, url, nil)
	exercise(t, s)
}
