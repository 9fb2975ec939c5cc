package redisstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

func TestOpenTLS(t *testing.T) {
	server, ca := servertest.RedisTLS(t, "requirepass "+secret)
	url := "rediss://:" + secret + "@" + server.Addr
	s := open(t, url+"?ca_file="+ca, nil)
	if err := storage.Probe(t.Context(), s, time.Now()); err != nil {
		t.Error(err)
	}
	// A certificate that nobody vouches for is not talked to, and neither is a server
	// without TLS; that one only waits for more.
	refuses(t, url, storage.ErrUnfit, "certificate", "ca_file")
	refuses(t, "rediss://:"+secret+"@"+shared.server.Addr, storage.ErrUnavailable)
	refuses(t, "redis://:"+secret+"@"+server.Addr, storage.ErrUnavailable)
}

func TestOpenRefusesPassword(t *testing.T) {
	server := servertest.Redis(t, "requirepass "+secret)
	open(t, "redis://:"+secret+"@"+server.Addr, nil)
	open(t, "redis://default:"+secret+"@"+server.Addr, nil)
	refuses(t, "redis://"+server.Addr, storage.ErrUnfit, "wants a password")
	refuses(t, "redis://:wrong-"+secret+"@"+server.Addr, storage.ErrUnfit, "user or password")
	refuses(t, "redis://somebody:"+secret+"@"+server.Addr, storage.ErrUnfit, "user or password")
	refuses(t, "redis://somebody:"+secret+"@"+shared.server.Addr, storage.ErrUnfit, "user or password")
	refuses(t, "redis+cluster://:wrong-"+secret+"@"+server.Addr, storage.ErrUnfit, "user or password")
}

func TestOpenRefusesEviction(t *testing.T) {
	server := servertest.Redis(t)
	for _, policy := range []string{"allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"} {
		command(t, server, "CONFIG", "SET", "maxmemory-policy", policy)
		refuses(t, redisURL(server.Addr), storage.ErrUnfit, policy, "noeviction")
	}
	cluster := shared.cluster
	command(t, cluster.Nodes[1], "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	refuses(t, clusterURL(cluster), storage.ErrUnfit, "volatile-ttl")
	command(t, cluster.Nodes[1], "CONFIG", "SET", "maxmemory-policy", "noeviction")
	open(t, clusterURL(cluster), nil)
}

// The policy is found out without INFO, too; when nobody may ask, the log says so.
func TestOpenWithoutInfo(t *testing.T) {
	server := servertest.Redis(t)
	command(t, server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	command(t, server, "ACL", "SETUSER", "noinfo", "on", ">"+secret, "~*", "+@all", "-info")
	refuses(t, "redis://noinfo:"+secret+"@"+server.Addr, storage.ErrUnfit, "allkeys-lru")
	command(t, server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	command(t, server, "ACL", "SETUSER", "neither", "on", ">"+secret, "~*", "+@all", "-info", "-config")
	for user, warns := range map[string]bool{"noinfo": true, "neither": true, "default": false} {
		var log bytes.Buffer
		url := "redis://" + user + ":" + secret + "@" + server.Addr
		if user == "default" {
			url = redisURL(server.Addr)
		}
		s, err := redisstore.Open(t.Context(), redisstore.Config{URL: url, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if strings.Contains(log.String(), "maxmemory-policy") != warns || strings.Contains(log.String(), secret) {
			t.Errorf("%s: the log says %q", user, &log)
		}
	}
}

func TestOpenRefusesTheOtherLayout(t *testing.T) {
	for _, addr := range shared.cluster.Addrs {
		refuses(t, redisURL(addr), storage.ErrUnfit, "redis+cluster")
	}
	refuses(t, "redis+cluster://"+shared.server.Addr, storage.ErrUnfit, "no cluster")
	refuses(t, redisURL(shared.server.Addr)+"/60000", storage.ErrUnfit, "databases")
}

// A server that becomes one of a cluster, or whose user may not ask, is found out by
// what it answers.
func TestClusterBehindAPlainURL(t *testing.T) {
	for _, node := range shared.cluster.Nodes {
		command(t, node, "ACL", "SETUSER", "noinfo", "on", ">"+secret, "~*", "+@all", "-info")
	}
	found := 0
	for _, addr := range shared.cluster.Addrs {
		s, err := redisstore.Open(t.Context(), redisstore.Config{URL: "redis://noinfo:" + secret + "@" + addr})
		if err == nil { // the node that holds the one key that was asked for
			for i := range 20 {
				if err = s.Put(t.Context(), record(fmt.Sprint(i), "1")); err != nil {
					break
				}
			}
			s.Close()
		}
		if errors.Is(err, storage.ErrUnfit) && strings.Contains(err.Error(), "redis+cluster") {
			found++
		} else {
			t.Errorf("%v, want ErrUnfit and redis+cluster", err)
		}
	}
	if found != len(shared.cluster.Addrs) {
		t.Errorf("%d of %d nodes were found out", found, len(shared.cluster.Addrs))
	}
}

func TestOpenReplica(t *testing.T) {
	master := servertest.Redis(t)
	replica := master.Replica(t)
	refuses(t, redisURL(replica.Addr), storage.ErrUnavailable, "name its master")
	command(t, replica, "CONFIG", "SET", "replica-read-only", "no") // it would take writes, and lose them
	refuses(t, redisURL(replica.Addr), storage.ErrUnavailable, "name its master")
	// One that is made a replica afterwards takes no writes, and is a master again later.
	s := open(t, redisURL(master.Addr), nil)
	r := put(t, s, record("a", "1"))
	host, port, _ := strings.Cut(replica.Addr, ":")
	command(t, replica, "REPLICAOF", "NO", "ONE")
	command(t, master, "REPLICAOF", host, port)
	if err := s.Put(t.Context(), next(r, "2")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Put to a replica = %v, want ErrUnavailable", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Ping of a replica = %v, want ErrUnavailable", err)
	}
	command(t, master, "REPLICAOF", "NO", "ONE")
	recovers(t, s)
}

func TestOpenRefusesNewerLayout(t *testing.T) {
	server := servertest.Redis(t)
	open(t, redisURL(server.Addr), nil)
	s := open(t, redisURL(server.Addr), nil) // that of the first one is known
	if got := command(t, server, "GET", "lettergate:layout"); got != "1" {
		t.Fatalf("the layout is %v, want 1", got)
	}
	command(t, server, "SET", "lettergate:layout", "2")
	refuses(t, redisURL(server.Addr), storage.ErrUnfit, "newer Lettergate", "layout 2")
	if err := s.Ping(t.Context()); !errors.Is(err, storage.ErrUnfit) {
		t.Errorf("Ping after a newer program has been there = %v, want ErrUnfit", err)
	}
	command(t, server, "SET", "lettergate:layout", "something else")
	refuses(t, redisURL(server.Addr), storage.ErrUnfit, "prefix")
	command(t, server, "DEL", "lettergate:layout")
	command(t, server, "RPUSH", "lettergate:layout", "something else")
	refuses(t, redisURL(server.Addr), storage.ErrUnfit, "prefix")
}

func TestOpenUnreachable(t *testing.T) {
	server := servertest.Redis(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{redisURL(server.Addr), "redis+cluster://" + server.Addr, "redis+sentinel://" + server.Addr + "/mymaster"} {
		refuses(t, url, storage.ErrUnavailable)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := redisstore.Open(ctx, redisstore.Config{URL: redisURL(shared.server.Addr)})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open with a done context = %v", err)
	}
}

func TestOpenTogether(t *testing.T) {
	for _, l := range layouts {
		url := l.url()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, err := redisstore.Open(t.Context(), redisstore.Config{URL: url})
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// Two stores on one server, one prefix even the beginning of the other, see nothing of
// each other.
func TestPrefixes(t *testing.T) {
	server := servertest.Redis(t)
	prefixes := []string{"a", "ac", "ac:", "ar", "b:"}
	stores := map[string]storage.Store{}
	for _, p := range prefixes {
		stores[p] = open(t, redisURL(server.Addr)+"?prefix="+p, nil)
	}
	for p, s := range stores {
		put(t, s, record("x", "of "+p, "g"))
		for _, id := range []string{"r grant/x", " r grant/x", "rgrant/x"} {
			if n, err := s.Add(t.Context(), counter(id), 1, time.Hour); n != 1 || err != nil {
				t.Errorf("%s: Add = %d, %v", p, n, err)
			}
		}
	}
	for p, s := range stores {
		got, err := s.Get(t.Context(), record("x", "").Key)
		if err != nil || string(got[0].Value) != "of "+p {
			t.Errorf("%s: Get = %q, %v", p, got[0].Value, err)
		}
		if ids := listed(t, s, "g", 10); len(ids) != 1 {
			t.Errorf("%s: List = %q", p, ids)
		}
	}
	for _, key := range keys(t, server, "*") {
		known := false
		for _, p := range prefixes {
			known = known || strings.HasPrefix(key, p)
		}
		if !known {
			t.Errorf("key %q is outside every prefix", key)
		}
	}
	if err := stores["a"].Delete(t.Context(), record("x", "").Key); err != nil {
		t.Fatal(err)
	}
	for p, s := range stores {
		if p != "a" && version(t, s, record("x", "").Key).IsZero() {
			t.Errorf("%s: the record was deleted by another store", p)
		}
	}
}

// permissions are the users that the package's documentation describes.
const (
	permissions = "~lettergate:* -@all +info +ping +select +eval +evalsha +get +set +getrange +setrange +del +hget +hset +hincrby " +
		"+pexpire +persist +pttl +zadd +zrem +zcard +zcount +zrange +zrandmember +wait"
	clusterPermissions = " +asking +cluster|slots"
)

func setUser(t *testing.T, s *servertest.Server, rules string) {
	t.Helper()
	command(t, s, append([]string{"ACL", "SETUSER", "lettergate", "reset", "on", ">" + secret, "resetchannels"}, strings.Fields(rules)...)...)
}

// The rules that are documented are enough, in every layout, and none is too many.
func TestACL(t *testing.T) {
	server := servertest.Redis(t)
	cluster := shared.cluster
	replicaOf(t, server)
	setUser(t, server, permissions)
	url := "redis://lettergate:" + secret + "@" + server.Addr
	for _, params := range []string{"", "/3", "?wait=1"} {
		s := open(t, url+params, nil)
		exercise(t, s)
	}
	clustered := "redis+cluster://lettergate:" + secret + "@" + strings.Join(cluster.Addrs, ",")
	for _, node := range cluster.Nodes {
		setUser(t, node, permissions+clusterPermissions)
	}
	exercise(t, open(t, clustered, nil))

	for _, rule := range strings.Fields(permissions) {
		name, ok := strings.CutPrefix(rule, "+")
		switch name {
		case "info", "ping", "select", "eval", "setrange", "persist", "wait":
			continue // not needed here, or by nobody who waits for it
		}
		if !ok {
			continue
		}
		setUser(t, server, permissions+" -"+name)
		s, err := redisstore.Open(t.Context(), redisstore.Config{URL: url})
		if err == nil {
			err = storage.Probe(t.Context(), s, time.Now())
			s.Close()
		}
		if !errors.Is(err, storage.ErrUnfit) || !strings.Contains(err.Error(), "may not") {
			t.Errorf("without %s: %v, want ErrUnfit", name, err)
		}
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("without %s: the error shows the password", name)
		}
	}
	command(t, server, "SCRIPT", "FLUSH")
	for _, name := range []string{"eval", "evalsha"} {
		setUser(t, server, permissions+" -"+name)
		refuses(t, url, storage.ErrUnfit, "may not", name)
	}
	setUser(t, server, strings.Replace(permissions, "~lettergate:*", "~other:*", 1))
	refuses(t, url, storage.ErrUnfit, "may not")
	setUser(t, server, permissions+" -wait")
	refuses(t, url+"?wait=1", storage.ErrUnfit, "may not", "wait")
}

// exercise makes s use all that it can.
func exercise(t *testing.T, s storage.Store) {
	t.Helper()
	if err := storage.Probe(t.Context(), s, time.Now()); err != nil {
		t.Error(err)
	}
	r := record(rand.Text(), "1", "g")
	r.Expires = time.Now().Add(time.Hour)
	put(t, s, r)
	put(t, s, r)
	r = next(r, "2")
	r.Expires = time.Time{}
	put(t, s, r)
	for range 40 { // enough for the collector to look, and for each node of a cluster
		put(t, s, record(rand.Text(), "1", "g"))
		key := counter(rand.Text())
		if _, err := s.Add(t.Context(), key, 1, time.Hour); err != nil {
			t.Error(err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Add(t.Context(), counter("a"), -1, time.Hour); err != nil {
		t.Error(err)
	}
	for _, key := range []storage.Key{r.Key, counter("a"), counter("nobody")} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	listed(t, s, "g", 7)
}

func TestClose(t *testing.T) {
	for _, l := range layouts {
		s, err := redisstore.Open(t.Context(), redisstore.Config{URL: l.url()})
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, record("a", "1", "g"))
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					err := s.Put(context.Background(), record(fmt.Sprint(w, "-", i), "1", "g"))
					if err != nil {
						if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "closed") {
							t.Errorf("Put while closing = %v", err)
						}
						return
					}
				}
			})
		}
		<-time.After(20 * time.Millisecond)
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
		wg.Wait()
		for name, call := range calls(s) {
			if err := call(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s after Close = %v, want ErrUnavailable", name, err)
			}
		}
	}
}
