package redisstore_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
	"github.com/lettergate/lettergate/provider/storage/servertest"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// shared are servers for tests that harm nobody: each store of theirs has a prefix of
// its own.
var shared struct {
	server  *servertest.Server
	cluster *servertest.Cluster
	stores  atomic.Int64
}

func TestMain(m *testing.M) {
	var err error
	if shared.server, err = servertest.StartRedis(""); err == nil {
		shared.cluster, err = servertest.StartRedisCluster("", "cluster-require-full-coverage no")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	shared.server.Close()
	shared.cluster.Close()
	os.Exit(code)
}

// A layout is a way in which servers belong together.
type layout struct {
	name string
	url  func() string // of a store that holds nothing
}

var layouts = []layout{
	{"one server", func() string { return fmt.Sprintf("redis://%s?prefix=%d:", shared.server.Addr, shared.stores.Add(1)) }},
	{"cluster", func() string {
		return fmt.Sprintf("redis+cluster://%s?prefix=%d:", strings.Join(shared.cluster.Addrs, ","), shared.stores.Add(1))
	}},
}

// open opens a store until the test ends.
func open(t testing.TB, url string, now func() time.Time) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(t.Context(), redisstore.Config{URL: url, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store { return open(t, l.url(), now) })
		})
	}
}

// On servers that keep what they have on the disk in each way, and in a cluster.
func Benchmark(b *testing.B) {
	ways := slices.Clone(layouts)
	for _, fsync := range []string{"everysec", "always"} {
		server := servertest.Redis(b, "appendonly yes", "appendfsync "+fsync)
		ways = append(ways, layout{"appendfsync " + fsync, func() string {
			return fmt.Sprintf("redis://%s?prefix=%d:", server.Addr, shared.stores.Add(1))
		}})
	}
	for _, l := range ways {
		b.Run(l.name, func(b *testing.B) {
			storetest.Bench(b, func(b *testing.B, now func() time.Time) storage.Store { return open(b, l.url(), now) })
		})
	}
}
