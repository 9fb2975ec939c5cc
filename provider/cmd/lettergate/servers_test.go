package main

import (
	"net/url"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// The commands of scripts that need servers. Each server ends with its script, or
// with all of them when they share it.

// startsServers returns the commands that start servers and talk to them.
func startsServers(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	// To start it takes a second or two. Each script has databases of its own.
	database := sync.OnceValues(func() (*servertest.Database, error) {
		d, err := servertest.StartPostgres("")
		if err == nil {
			t.Cleanup(func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		return d, err
	})
	return map[string]func(*testscript.TestScript, bool, []string){
		"redis":   startRedis,
		"cluster": startCluster,
		"tell":    tell,
		"freeze":  freeze,
		"postgres": func(ts *testscript.TestScript, neg bool, args []string) {
			newDatabase(ts, neg, args, database)
		},
		"sql": func(ts *testscript.TestScript, neg bool, args []string) {
			query(ts, neg, args, database)
		},
	}
}

// servers are the Redis servers of a script, by their addresses.
type servers map[string]*servertest.Server

type serversKey struct{}

// redis NAME [LINE...] starts a server with these lines of redis.conf, and puts its
// address into the variable.
func startRedis(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: redis name [line of redis.conf]...")
	}
	s, err := servertest.StartRedis("", args[1:]...)
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.Close()) })
	ts.Value(serversKey{}).(servers)[s.Addr] = s
	ts.Setenv(args[0], s.Addr)
}

// cluster NAME starts a cluster and puts its addresses into the variable.
func startCluster(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cluster name")
	}
	c, err := servertest.StartRedisCluster("")
	ts.Check(err)
	ts.Defer(func() { ts.Check(c.Close()) })
	ts.Setenv(args[0], c.Addrs[0]+","+c.Addrs[1]+","+c.Addrs[2])
}

// tell ADDRESS COMMAND... has a Redis server do something.
func tell(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tell address command...")
	}
	_, err := redisAt(ts, args[0]).Command(args[1:]...)
	ts.Check(err)
}

// freeze ADDRESS has a Redis server hold its connections and answer nothing.
func freeze(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeze address")
	}
	ts.Check(redisAt(ts, args[0]).Pause())
}

func redisAt(ts *testscript.TestScript, address string) *servertest.Server {
	s := ts.Value(serversKey{}).(servers)[address]
	if s == nil {
		ts.Fatalf("no server of this script is at %s", address)
	}
	return s
}

// postgres NAME makes an empty database and puts its URL into the variable, and its
// address, its own name and its user's password into those that end in _ADDR, _NAME
// and _PASSWORD, and the URL of a superuser of the server into the one in _ADMIN.
func newDatabase(ts *testscript.TestScript, neg bool, args []string, server func() (*servertest.Database, error)) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: postgres name")
	}
	d, err := server()
	ts.Check(err)
	text, err := d.Create()
	ts.Check(err)
	u, err := url.Parse(text)
	ts.Check(err)
	password, _ := u.User.Password()
	ts.Setenv(args[0], text)
	ts.Setenv(args[0]+"_ADMIN", d.AdminURL)
	ts.Setenv(args[0]+"_ADDR", u.Host)
	ts.Setenv(args[0]+"_NAME", u.Path[1:])
	ts.Setenv(args[0]+"_PASSWORD", password)
}

// sql URL STATEMENT runs a statement in a database.
func query(ts *testscript.TestScript, neg bool, args []string, server func() (*servertest.Database, error)) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql url statement")
	}
	d, err := server()
	ts.Check(err)
	_, err = d.Query(args[0], args[1])
	ts.Check(err)
}
