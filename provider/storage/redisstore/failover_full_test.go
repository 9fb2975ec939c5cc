//go:build full

package redisstore_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// FT-13: a node of a cluster dies, and its replica takes over. The store finds it though
// no node tells it: it only gets no answer.
func TestClusterFailover(t *testing.T) {
	c := servertest.RedisCluster(t, "cluster-node-timeout 1000")
	replica := servertest.Redis(t, "cluster-enabled yes", "cluster-announce-ip 127.0.0.1", "cluster-node-timeout 1000")
	host, port, _ := strings.Cut(c.Addrs[0], ":")
	id := command(t, c.Nodes[0], "CLUSTER", "MYID").(string)
	eventually(t, 10*time.Second, "the replica knows its master", func() bool {
		for line := range strings.Lines(command(t, c.Nodes[0], "CLUSTER", "NODES").(string)) {
			if strings.Contains(line, "myself") {
				_, bus, _ := strings.Cut(strings.Fields(line)[1], "@")
				bus, _, _ = strings.Cut(bus, ",")
				command(t, replica, "CLUSTER", "MEET", host, port, bus)
			}
		}
		_, err := replica.Command("CLUSTER", "REPLICATE", id)
		return err == nil
	})
	eventually(t, 20*time.Second, "the replica is up to date, and known to all", func() bool {
		info := command(t, replica, "INFO", "replication").(string)
		for _, n := range c.Nodes {
			if !strings.Contains(command(t, n, "CLUSTER", "NODES").(string), replica.Addr) {
				return false
			}
		}
		return strings.Contains(info, "master_link_status:up")
	})
	s := open(t, clusterURL(c), nil)
	acknowledged := load(t, s, func() {})
	time.AfterFunc(time.Second, func() { c.Nodes[0].Kill() })
	load(t, s, func() {})
	// Without Ping, which asks for the nodes each time.
	eventually(t, 15*time.Second, "the replica has taken over", func() bool {
		for range 30 {
			if s.Put(t.Context(), record(rand.Text(), "1")) != nil {
				return false
			}
		}
		return true
	})
	recovers(t, s)
	for _, r := range acknowledged {
		if version(t, s, r.Key) != r.Version {
			t.Fatalf("%s was acknowledged long before, and is gone", r.Key)
		}
	}
}
