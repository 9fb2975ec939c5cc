package servertest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	nodes = 3
	slots = 16384
)

// A Cluster is three redis-servers that share the keys among them. Its methods
// are for concurrent use.
type Cluster struct {
	// Addrs are the addresses of Nodes.
	Addrs []string
	// Nodes hold a third of the slots each, in the order of the slots, until
	// a slot is moved. A node that is started again is still one of them.
	Nodes []*Server

	ids []string // the cluster's names for Nodes
}

// RedisCluster starts a cluster of three redis-servers, without replicas, that
// ends with the test. It returns when each node says that the cluster is ok,
// which takes Redis two seconds. conf is as for [Redis] and is that of each
// node. A node that does not answer for two seconds counts as failed, and then
// none takes commands, unless conf says otherwise (cluster-node-timeout,
// cluster-require-full-coverage).
func RedisCluster(t testing.TB, conf ...string) *Cluster {
	t.Helper()
	c, err := StartRedisCluster("", conf...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report(t, c.Close()) })
	return c
}

// StartRedisCluster is RedisCluster where there is no test to end the servers:
// see [StartRedis].
func StartRedisCluster(dir string, conf ...string) (*Cluster, error) {
	c := &Cluster{Nodes: make([]*Server, nodes), ids: make([]string, nodes)}
	buses := make([]string, nodes)
	errs := make([]error, nodes)
	var wait sync.WaitGroup
	for i := range nodes {
		wait.Go(func() {
			c.Nodes[i], errs[i] = startRedis(dir, func(s *Server, port int) ([]string, error) {
				bus, err := freePort()
				buses[i] = strconv.Itoa(bus)
				return append(clusterLines(s, port, bus), conf...), err
			})
		})
	}
	wait.Wait()
	err := errors.Join(errs...)
	if err == nil {
		for _, n := range c.Nodes {
			c.Addrs = append(c.Addrs, n.Addr)
		}
		err = c.join(buses)
	}
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func clusterLines(s *Server, port, bus int) []string {
	lines := []string{
		"port " + strconv.Itoa(port),
		"cluster-enabled yes",
		"cluster-port " + strconv.Itoa(bus),
		"cluster-announce-ip 127.0.0.1",
		"cluster-node-timeout 2000",
		// Beside the data: Empty takes what a node holds, not its place.
		"cluster-config-file " + strconv.Quote(s.file("nodes.conf")),
	}
	return lines
}

// join gives each node its slots and makes them known to each other.
func (c *Cluster) join(buses []string) error {
	for i, n := range c.Nodes {
		first, last := i*slots/nodes, (i+1)*slots/nodes-1
		for _, command := range [][]string{
			{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)},
			{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)},
		} {
			if _, err := n.Command(command...); err != nil {
				return fmt.Errorf("make a cluster: %w", err)
			}
		}
		id, err := n.Command("CLUSTER", "MYID")
		if err != nil {
			return fmt.Errorf("make a cluster: %w", err)
		}
		c.ids[i], _ = id.(string)
		for other := range i {
			host, port, err := net.SplitHostPort(c.Addrs[other])
			if err != nil {
				return err
			}
			if _, err := n.Command("CLUSTER", "MEET", host, port, buses[other]); err != nil {
				return fmt.Errorf("make a cluster: %w", err)
			}
		}
	}
	return nil
}

// Wait returns when each node says that the cluster is ok and knows all others,
// for use after nodes have been stopped and started. It fails after 15 seconds.
func (c *Cluster) Wait() error {
	return until(startPatience, "the cluster is ok", func() bool {
		return !slices.ContainsFunc(c.Nodes, func(n *Server) bool { return !c.complete(n) })
	})
}

// complete tells whether n is content with the cluster and sees all nodes up.
func (c *Cluster) complete(n *Server) bool {
	if state, err := n.info("cluster_state", "CLUSTER", "INFO"); err != nil || state != "ok" {
		return false
	}
	answer, err := n.Command("CLUSTER", "NODES")
	if err != nil {
		return false
	}
	text, _ := answer.(string)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != nodes {
		return false
	}
	// id address flags primary ping pong epoch link-state slots…
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[7] != "connected" ||
			strings.Contains(fields[2], "fail") || strings.Contains(fields[2], "handshake") || !slices.Contains(c.ids, fields[0]) {
			return false
		}
	}
	return true
}

// Close ends the nodes at once and removes their folders. Further calls do
// nothing.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.Nodes {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	return errors.Join(errs...)
}

// Slot is the slot of a key.
func (c *Cluster) Slot(key string) (int, error) {
	answer, err := c.Nodes[0].Command("CLUSTER", "KEYSLOT", key)
	if err != nil {
		return 0, err
	}
	n, _ := answer.(int64)
	return int(n), nil
}

// Owner is the place in Nodes of the node that says that it holds slot.
func (c *Cluster) Owner(slot int) (int, error) {
	for i, n := range c.Nodes {
		answer, err := n.Command("CLUSTER", "SLOTS")
		if err != nil {
			continue // it may be down; another one may hold the slot
		}
		ranges, _ := answer.([]any)
		for _, r := range ranges {
			if holds(r, slot, c.ids[i]) {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("no node of the cluster holds slot %d", slot)
}

// holds reads one range of CLUSTER SLOTS: first, last, [host, port, id, …], ….
func holds(r any, slot int, id string) bool {
	parts, _ := r.([]any)
	if len(parts) < 3 {
		return false
	}
	first, _ := parts[0].(int64)
	last, _ := parts[1].(int64)
	node, _ := parts[2].([]any)
	return len(node) > 2 && node[2] == id && first <= int64(slot) && int64(slot) <= last
}

// MoveSlot moves slot and its keys from one of Nodes to another: all of
// BeginMove, MoveKeys and EndMove. Clients that ask the former node are then
// answered MOVED.
func (c *Cluster) MoveSlot(slot, from, to int) error {
	if err := c.BeginMove(slot, from, to); err != nil {
		return err
	}
	if err := c.MoveKeys(slot, from, to); err != nil {
		return err
	}
	return c.EndMove(slot, from, to)
}

// BeginMove is the first stage of MoveSlot. From then on the node from answers
// ASK for keys of the slot that it does not hold (any more).
func (c *Cluster) BeginMove(slot, from, to int) error {
	number := strconv.Itoa(slot)
	if _, err := c.Nodes[to].Command("CLUSTER", "SETSLOT", number, "IMPORTING", c.ids[from]); err != nil {
		return fmt.Errorf("begin to move slot %d: %w", slot, err)
	}
	if _, err := c.Nodes[from].Command("CLUSTER", "SETSLOT", number, "MIGRATING", c.ids[to]); err != nil {
		return fmt.Errorf("begin to move slot %d: %w", slot, err)
	}
	return nil
}

// MoveKeys is the second stage: the keys that the slot has now go to the node
// to, or only those of keys when there are any.
func (c *Cluster) MoveKeys(slot, from, to int, keys ...string) error {
	const batch = 100
	if len(keys) > 0 {
		return c.migrate(from, to, keys)
	}
	for {
		answer, err := c.Nodes[from].Command("CLUSTER", "GETKEYSINSLOT", strconv.Itoa(slot), strconv.Itoa(batch))
		if err != nil {
			return fmt.Errorf("list the keys of slot %d: %w", slot, err)
		}
		list, _ := answer.([]any)
		if len(list) == 0 {
			return nil
		}
		keys = keys[:0]
		for _, k := range list {
			if key, ok := k.(string); ok {
				keys = append(keys, key)
			}
		}
		if err := c.migrate(from, to, keys); err != nil {
			return err
		}
	}
}

func (c *Cluster) migrate(from, to int, keys []string) error {
	host, port, err := net.SplitHostPort(c.Addrs[to])
	if err != nil {
		return err
	}
	milliseconds := strconv.FormatInt(commandPatience.Milliseconds(), 10)
	command := []string{"MIGRATE", host, port, "", "0", milliseconds}
	if password := c.Nodes[to].password; password != "" {
		command = append(command, "AUTH", password)
	}
	command = append(append(command, "KEYS"), keys...)
	if _, err := c.Nodes[from].Command(command...); err != nil {
		return fmt.Errorf("move keys to another node: %w", err)
	}
	return nil
}

// EndMove is the last stage: the slot belongs to the node to, and all nodes know
// it.
func (c *Cluster) EndMove(slot, from, to int) error {
	order := []int{to, from}
	for i := range c.Nodes {
		if i != from && i != to {
			order = append(order, i)
		}
	}
	for _, i := range order {
		if _, err := c.Nodes[i].Command("CLUSTER", "SETSLOT", strconv.Itoa(slot), "NODE", c.ids[to]); err != nil {
			return fmt.Errorf("end the move of slot %d: %w", slot, err)
		}
	}
	return nil
}
