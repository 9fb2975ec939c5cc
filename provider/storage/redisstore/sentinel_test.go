//go:build linux

package redisstore_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// sentinel starts one that watches over master and decides alone, and returns its
// address.
func sentinel(t *testing.T, master *servertest.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := strings.Cut(addr, ":")
	host, masterPort, _ := strings.Cut(master.Addr, ":")
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nrequirepass %s\nsentinel monitor mymaster %s %s 1\n"+
		"sentinel down-after-milliseconds mymaster 300\nsentinel failover-timeout mymaster 3000\n", port, secret, host, masterPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "redis-server", conf, "--sentinel")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		// The kernel counts the thread that starts a process as its parent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start a sentinel: %v; install redis-server", err)
	}
	t.Cleanup(func() { <-ended })
	return addr
}

// FT-06, FT-07: sentinels put a replica in the place of a master that died. The store
// finds it, and everything that was acknowledged is there.
func TestSentinel(t *testing.T) {
	master := servertest.Redis(t)
	replicas := []*servertest.Server{master.Replica(t), master.Replica(t)}
	addr := sentinel(t, master)
	client := redis.NewClient(&redis.Options{Addr: addr, Password: secret})
	defer client.Close()
	eventually(t, 5*time.Second, "the sentinel knows the replicas", func() bool {
		known := fmt.Sprint(client.Do(t.Context(), "sentinel", "replicas", "mymaster"))
		return strings.Contains(known, replicas[0].Addr) && strings.Contains(known, replicas[1].Addr)
	})
	confirm(t, master, 2) // so that each has what the other has, whichever is promoted
	url := "redis+sentinel://" + addr
	password := "?sentinel_password=" + secret
	refuses(t, url+"/mymaster", storage.ErrUnfit, "password")
	refuses(t, url+"/another"+password, storage.ErrUnfit, "no master")
	s := open(t, url+"/mymaster"+password+"&wait=1", nil)
	exercise(t, s)
	acknowledged := load(t, s, func() {
		if err := master.Kill(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 15*time.Second, "a replica has taken over", func() bool {
		return s.Ping(t.Context()) == nil
	})
	for _, r := range acknowledged {
		if version(t, s, r.Key) != r.Version {
			t.Fatalf("%s was acknowledged and is gone", r.Key)
		}
	}
	if ids := listed(t, s, "load", storage.MaxPage); len(ids) < len(acknowledged) {
		t.Errorf("%d records are listed, %d were acknowledged", len(ids), len(acknowledged))
	}
	recovers(t, s)
}
