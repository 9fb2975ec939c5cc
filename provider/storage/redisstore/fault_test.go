package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// FT-03: a server that is stopped in its tracks holds nobody for long, and all is well
// when it goes on.
func TestSilentServer(t *testing.T) {
	server := servertest.Redis(t)
	cluster := shared.cluster
	one, many := open(t, redisURL(server.Addr), nil), open(t, clusterURL(cluster), nil)
	put(t, one, record("b", "1", "g"))
	put(t, many, record("b", "1", "g"))
	nodes := append([]*servertest.Server{server}, cluster.Nodes...)
	for _, node := range nodes {
		if err := node.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // with the connections there were, and with new ones
		allFail(t, one)
		allFail(t, many)
	}
	refuses(t, redisURL(server.Addr), storage.ErrUnavailable)
	refuses(t, clusterURL(cluster), storage.ErrUnavailable)
	for _, node := range nodes {
		if err := node.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.Wait(); err != nil {
		t.Fatal(err)
	}
	recovers(t, one)
	recovers(t, many)
}

// A caller whose context ends does not wait for a silent server.
func TestCallerLeaves(t *testing.T) {
	server := servertest.Redis(t)
	s := open(t, redisURL(server.Addr), nil)
	put(t, s, record("b", "1"))
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(s) {
		for _, how := range []string{"cancelled", "deadline"} {
			ctx, cancel := context.WithCancel(t.Context())
			want := context.Canceled
			if how == "deadline" {
				ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
				want = context.DeadlineExceeded
			} else {
				time.AfterFunc(30*time.Millisecond, cancel)
			}
			begin := time.Now()
			err := call(ctx)
			cancel()
			if took := time.Since(begin); took > 300*time.Millisecond {
				t.Errorf("%s waited %v for a caller that was gone after 30ms (%s)", name, took, how)
			}
			if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, want) {
				t.Errorf("%s = %v, want ErrUnavailable and the context's error", name, err)
			}
		}
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	recovers(t, s)
}

// FT-01, FT-02: a server that dies under load, is away, and comes back. It has lost the
// scripts and, without a disk, everything else.
func TestKilledServer(t *testing.T) {
	server := servertest.Redis(t, "appendonly yes", "appendfsync always")
	s := open(t, redisURL(server.Addr), nil)
	acknowledged := load(t, s, func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	})
	allFail(t, s)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	recovers(t, s)
	for _, r := range acknowledged {
		if version(t, s, r.Key) != r.Version {
			t.Fatalf("%s was acknowledged and is gone", r.Key)
		}
	}
	if ids := listed(t, s, "load", storage.MaxPage); len(ids) < len(acknowledged) {
		t.Errorf("%d records are listed, %d were acknowledged", len(ids), len(acknowledged))
	}
	t.Logf("%d acknowledged records", len(acknowledged))

	if err := server.Empty(); err != nil {
		t.Fatal(err)
	}
	recovers(t, s)
	if !version(t, s, acknowledged[0].Key).IsZero() {
		t.Error("a record outlived what was stored")
	}
}

// load puts records while harm is done, and returns those that were acknowledged. What
// is not acknowledged is an outage.
func load(t *testing.T, s storage.Store, harm func()) []storage.Record {
	t.Helper()
	var mu sync.Mutex
	var acknowledged []storage.Record
	var wg sync.WaitGroup
	var stop atomic.Bool
	run := rand.Text()
	for w := range 8 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				r := record(fmt.Sprint(run, "-", w, "-", i), "1", "load", fmt.Sprint("load ", w))
				begin := time.Now()
				switch err := s.Put(t.Context(), r); {
				case err == nil:
					mu.Lock()
					acknowledged = append(acknowledged, r)
					mu.Unlock()
				case !errors.Is(err, storage.ErrUnavailable):
					t.Errorf("Put under load = %v", err)
				}
				if took := time.Since(begin); took > slowest {
					t.Errorf("Put under load took %v", took)
				}
			}
		})
	}
	<-time.After(loadTime / 2 * time.Millisecond)
	harm()
	<-time.After(loadTime / 2 * time.Millisecond)
	stop.Store(true)
	wg.Wait()
	if len(acknowledged) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	return acknowledged
}

// A network that loses every packet, closes every connection, or is slow.
func TestBadNetwork(t *testing.T) {
	server := servertest.Redis(t)
	proxy := servertest.NewProxy(t, server.Addr)
	s := open(t, redisURL(proxy.Addr), nil)
	for name, harm := range map[string]func(){"silent": proxy.Silent, "refuse": proxy.Refuse, "reset": proxy.Reset} {
		t.Run(name, func(t *testing.T) {
			put(t, s, record(name, "1", "g"))
			harm()
			allFail(t, s)
			allFail(t, s)
			proxy.Pass()
			recovers(t, s)
		})
	}
	// FT-04: slower than the store waits, and not.
	proxy.Delay(100 * time.Millisecond)
	put(t, s, record("slow", "1", "g"))
	proxy.Delay(2 * time.Second)
	allFail(t, s)
	proxy.Pass()
	recovers(t, s)
}

// FT-15: everything is removed under load. Nobody panics, nobody is told that he
// replaced what is gone.
func TestFlushed(t *testing.T) {
	for _, l := range []struct {
		name  string
		nodes []*servertest.Server
		url   func(nodes []*servertest.Server) string
	}{
		{"one server", []*servertest.Server{servertest.Redis(t)}, func(n []*servertest.Server) string { return redisURL(n[0].Addr) }},
		{"cluster", shared.cluster.Nodes, func(n []*servertest.Server) string { return "redis+cluster://" + n[0].Addr }},
	} {
		t.Run(l.name, func(t *testing.T) {
			s := open(t, l.url(l.nodes), nil)
			before := put(t, s, record("before", "1", "load"))
			if _, err := s.Add(t.Context(), counter("a"), 5, time.Hour); err != nil {
				t.Fatal(err)
			}
			load(t, s, func() {
				for _, n := range l.nodes {
					command(t, n, "FLUSHALL")
					command(t, n, "SCRIPT", "FLUSH")
				}
			})
			if err := s.Put(t.Context(), next(before, "2")); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("Put over what is gone = %v, want ErrConflict", err)
			}
			if n, err := s.Add(t.Context(), counter("a"), 1, time.Hour); n != 1 || err != nil {
				t.Errorf("Add = %d, %v; want 1", n, err)
			}
			for _, id := range listed(t, s, "load", 50) {
				if version(t, s, record(id, "").Key).IsZero() {
					t.Errorf("%s is listed and absent", id)
				}
			}
			recovers(t, s)
		})
	}
}

// FT-15: keys that hold what somebody else has put there.
func TestForeignKeys(t *testing.T) {
	server := servertest.Redis(t)
	s := open(t, redisURL(server.Addr), nil)
	put(t, s, record("b", "1", "g"))
	put(t, s, record("c", "1", "h", "g"))
	for _, kind := range []struct {
		name string
		set  []string
	}{
		{"a list", []string{"RPUSH", "", "x"}},
		{"a text", []string{"SET", "", "something that is longer than the header of what is stored is"}},
		{"a short text", []string{"SET", "", "x"}},
		{"a hash", []string{"HSET", "", "e", "99999999999999", "n", "x"}},
		{"a sorted set", []string{"ZADD", "", "1", "x"}},
		{"a header and nothing", []string{"SET", "", "\x01" + strings.Repeat("\xff", 58)}},
	} {
		set := func(key string) {
			command(t, server, "DEL", key)
			args := append([]string{}, kind.set...)
			args[1] = key
			command(t, server, args...)
		}
		t.Run(kind.name, func(t *testing.T) {
			r := record("foreign", "1", "h", "foreign")
			set("lettergate:r grant/foreign")
			_, getErr := s.Get(t.Context(), record("b", "").Key, r.Key)
			deleteErr := s.Delete(t.Context(), r.Key)
			for call, err := range map[string]error{"Get": getErr, "Put": s.Put(t.Context(), r), "Delete": deleteErr} {
				if kind.name == "a header and nothing" && call != "Get" {
					continue // that looks like an expired record in no group
				}
				if !errors.Is(err, storage.ErrUnfit) {
					t.Errorf("%s = %v, want ErrUnfit", call, err)
				}
			}
			command(t, server, "DEL", "lettergate:r grant/foreign")

			set("lettergate:g foreign")
			if kind.name != "a sorted set" {
				if err := s.Put(t.Context(), r); !errors.Is(err, storage.ErrUnfit) {
					t.Errorf("Put into a foreign group = %v, want ErrUnfit", err)
				}
				if !version(t, s, r.Key).IsZero() {
					t.Error("a record was stored that is not in its groups")
				}
			}
			if _, _, err := s.List(t.Context(), "foreign", storage.Page{}); !errors.Is(err, storage.ErrUnfit) {
				t.Errorf("List = %v, want ErrUnfit", err)
			}
			command(t, server, "DEL", "lettergate:g foreign")

			if kind.name == "a hash" || kind.name == "a header and nothing" {
				set("lettergate:c foreign")
				if n, err := s.Add(t.Context(), counter("foreign"), 1, time.Hour); !errors.Is(err, storage.ErrUnfit) {
					t.Errorf("Add = %d, %v, want ErrUnfit", n, err)
				}
			}
			if err := s.Delete(t.Context(), counter("foreign")); err != nil {
				t.Errorf("Delete of a counter: %v", err)
			}
		})
	}
	if ids := listed(t, s, "g", 10); len(ids) != 2 {
		t.Errorf("List = %q, want the two others", ids)
	}
}

// FT-10: a full server refuses what would grow, whole, and goes on with the rest.
func TestFullServer(t *testing.T) {
	server := servertest.Redis(t, "maxmemory 4mb")
	s := open(t, redisURL(server.Addr), nil)
	if _, err := s.Add(t.Context(), counter("a"), 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	var kept []storage.Record
	refused := storage.Record{}
	for i := 0; refused.IsZero(); i++ {
		if i == 1000 {
			t.Fatal("1000 records of 20 kB went into 4 MB")
		}
		r := record(fmt.Sprint(i), strings.Repeat("v", 20_000), "g", fmt.Sprint("group ", i))
		switch err := s.Put(t.Context(), r); {
		case err == nil:
			kept = append(kept, r)
		case errors.Is(err, storage.ErrUnavailable) && strings.Contains(err.Error(), "OOM"):
			refused = r
		default:
			t.Fatalf("Put into a full server = %v, want ErrUnavailable", err)
		}
	}
	if !version(t, s, refused.Key).IsZero() {
		t.Error("a refused record is stored")
	}
	if n, err := s.Add(t.Context(), counter("a"), 1, time.Hour); err == nil && n != 2 || err != nil && !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Add = %d, %v; want 2 or ErrUnavailable", n, err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Ping of a full server = %v, want ErrUnavailable", err)
	}
	if ids := listed(t, s, "g", 30); len(ids) != len(kept) {
		t.Errorf("%d records are listed, %d were acknowledged", len(ids), len(kept))
	}
	for _, r := range kept[:10] { // what makes room works
		if err := s.Delete(t.Context(), r.Key); err != nil {
			t.Errorf("Delete from a full server: %v", err)
		}
	}
	recovers(t, s)
	put(t, s, refused)
}

// FT-14: more callers than connections, and a server that takes no more connections.
func TestManyCallers(t *testing.T) {
	server := servertest.Redis(t, "maxclients 20")
	admin, err := server.Dial() // while there is room
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	proxy := servertest.NewProxy(t, server.Addr)
	s := open(t, redisURL(proxy.Addr), nil)
	var served, refused, slowestRefusal atomic.Int64
	rush := func() {
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				begin := time.Now()
				err := s.Put(t.Context(), record(fmt.Sprint(i, "-", storage.NewVersion()), "1", "g"))
				took := time.Since(begin)
				switch {
				case err == nil:
					served.Add(1)
				case errors.Is(err, storage.ErrUnavailable):
					refused.Add(1)
					slowestRefusal.Store(max(slowestRefusal.Load(), int64(took)))
				default:
					t.Errorf("Put = %v", err)
				}
				if took > slowest {
					t.Errorf("Put took %v", took)
				}
			})
		}
		wg.Wait()
	}
	rush()
	if served.Load() == 0 {
		t.Error("nobody was served")
	}
	t.Logf("%d of 200 were served by a server for 20 clients", served.Load())
	if _, err := admin.Do("CONFIG", "SET", "maxclients", "1000"); err != nil {
		t.Fatal(err)
	}
	recovers(t, s)

	before := proxy.Accepted()
	rush()
	if made := proxy.Accepted() - before; made > 40 {
		t.Errorf("200 callers made %d connections, want at most 32 and some that broke", made)
	}
	// A slow server: who gets no connection in time is told at once.
	served.Store(0)
	refused.Store(0)
	slowestRefusal.Store(0)
	proxy.Delay(350 * time.Millisecond)
	rush()
	if took := time.Duration(slowestRefusal.Load()); took > 650*time.Millisecond {
		t.Errorf("a caller was refused after %v, want about 300ms", took)
	}
	if refused.Load() == 0 || served.Load() == 0 {
		t.Errorf("%d were served and %d refused, want some of both", served.Load(), refused.Load())
	}
	proxy.Pass()
	recovers(t, s)
}

// FT-17: a server that is busy with somebody's endless script.
func TestBusyServer(t *testing.T) {
	server := servertest.Redis(t, "busy-reply-threshold 50")
	s := open(t, redisURL(server.Addr), nil)
	r := put(t, s, record("a", "1", "g"))
	c, err := server.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Do("EVAL", "while true do end", "0") // until it is killed
	}()
	eventually(t, 5*time.Second, "the server is busy", func() bool {
		_, err := server.Command("GET", "x")
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	})
	allFail(t, s)
	command(t, server, "SCRIPT", "KILL")
	<-ended
	recovers(t, s)
	if version(t, s, r.Key).IsZero() {
		t.Error("the record is gone")
	}
}

// Scripts that a server has forgotten are sent again, whole.
func TestScriptsAreForgotten(t *testing.T) {
	server := servertest.Redis(t)
	s := open(t, redisURL(server.Addr), nil)
	for i := range 5 {
		for _, name := range []string{"Put", "Delete", "List", "Add", "Ping"} {
			command(t, server, "SCRIPT", "FLUSH")
			r := record(strconv.Itoa(i), "1", "g")
			for call, f := range map[string]func() error{
				"Put":    func() error { return s.Put(t.Context(), r) },
				"Delete": func() error { return s.Delete(t.Context(), r.Key) },
				"List":   func() error { _, _, err := s.List(t.Context(), "g", storage.Page{}); return err },
				"Add":    func() error { _, err := s.Add(t.Context(), counter("a"), 1, time.Hour); return err },
				"Ping":   func() error { return s.Ping(t.Context()) },
			} {
				if call != name {
					continue
				}
				if err := f(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	if n, err := s.Add(t.Context(), counter("a"), 0, time.Hour); n != 5 || err != nil {
		t.Errorf("Add = %d, %v; want 5", n, err)
	}
}

// No goroutine is left when a store is closed, even while its server is silent.
func TestCloseWhileSilent(t *testing.T) {
	server := servertest.Redis(t)
	s, err := redisstore.Open(t.Context(), redisstore.Config{URL: redisURL(server.Addr)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range calls(s) {
		go call(t.Context())
		if err := call(ctx); err == nil {
			t.Error("a call with a done context succeeded")
		}
	}
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
}
