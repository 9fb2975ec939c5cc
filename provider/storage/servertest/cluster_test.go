package servertest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := servertest.RedisCluster(t, "requirepass s3cret", "masterauth s3cret")
	is(t, len(c.Addrs), 3)
	const key = "{tag}a"
	slot, err := c.Slot(key)
	try(t, err)
	from, err := c.Owner(slot)
	try(t, err)
	to := (from + 1) % 3
	other := (from + 2) % 3
	do(t, c.Nodes[from], "SET", key, "1")
	do(t, c.Nodes[from], "SET", "{tag}b", "2")
	answers := func(node int, want string) {
		t.Helper()
		got, err := c.Nodes[node].Command("GET", key)
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		is(t, text, strings.NewReplacer("SLOT", fmt.Sprint(slot), "FROM", c.Addrs[from], "TO", c.Addrs[to]).Replace(want))
	}
	answers(from, "1")
	answers(to, "MOVED SLOT FROM")
	answers(other, "MOVED SLOT FROM")

	try(t, c.BeginMove(slot, from, to))
	answers(from, "1") // it has it still
	try(t, c.MoveKeys(slot, from, to, key))
	answers(from, "ASK SLOT TO")
	answers(to, "MOVED SLOT FROM") // nobody said ASKING
	conn, err := c.Nodes[to].Dial()
	try(t, err)
	defer conn.Close()
	_, err = conn.Do("ASKING")
	try(t, err)
	value, err := conn.Do("GET", key)
	try(t, err)
	is(t, value, "1")
	is(t, do(t, c.Nodes[from], "GET", "{tag}b"), "2")

	try(t, c.MoveKeys(slot, from, to))
	try(t, c.EndMove(slot, from, to))
	answers(to, "1")
	answers(from, "MOVED SLOT TO")
	answers(other, "MOVED SLOT TO")
	is(t, do(t, c.Nodes[to], "GET", "{tag}b"), "2")
	owner, err := c.Owner(slot)
	try(t, err)
	is(t, owner, to)

	try(t, c.MoveSlot(slot, to, from))
	answers(from, "1")

	// A node that comes back empty is still one of the cluster.
	try(t, c.Nodes[from].Empty())
	try(t, c.Wait())
	answers(from, "<nil>")
	answers(to, "MOVED SLOT FROM")
}

func TestClusterCloses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := servertest.StartRedisCluster(dir, "no-such-setting yes"); err == nil {
		t.Error("a cluster was made with a setting that does not exist")
	}
	empty(t, dir)
}
