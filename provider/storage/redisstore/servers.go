package redisstore

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/lettergate/lettergate/provider/storage"
)

// Whatever Redis does, a call is answered within callTimeout: that is less than a
// second, and more than one connection and one answer may take.
const (
	callTimeout    = 900 * time.Millisecond
	dialTimeout    = 500 * time.Millisecond
	commandTimeout = 500 * time.Millisecond
	poolTimeout    = 300 * time.Millisecond
	waitTimeout    = 300 * time.Millisecond // for replicas; below commandTimeout

	// connections is how many there are at most to each server.
	connections = 32
	idleTimeout = 5 * time.Minute

	// redirects is how often a call is sent on because a node has refused it.
	redirects = 6

	mostNodes = 64 // that are known by a redirection

	// How long a cluster's client waits before it reads again.
	readAgainFirst = 2 * time.Millisecond
	readAgainMost  = 50 * time.Millisecond

	// reload is how old the map of a cluster gets when nothing goes wrong.
	reload = 30 * time.Second
)

// servers are the connections of a Store. A command is never sent twice, except one
// that reads or removes garbage, and what a server has refused to carry out.
type servers struct {
	options options
	wait    int // replicas that have a write before it is acknowledged

	one  *redis.Client        // nil with a cluster
	many *redis.ClusterClient // nil without one

	mu   sync.Mutex
	rest map[string]*redis.Client // nodes that others have pointed to; guarded by mu
}

// options are what all clients have in common.
type options struct {
	user, password string
	tls            *tls.Config
	database       int
}

func connect(l location) (*servers, error) {
	secured, err := l.tls()
	if err != nil {
		return nil, err
	}
	s := &servers{
		options: options{user: l.user, password: l.password, tls: secured, database: l.database},
		wait:    l.wait,
		rest:    map[string]*redis.Client{},
	}
	switch l.layout {
	case cluster:
		s.many = redis.NewClusterClient(s.options.cluster(l.hosts))
	case sentinel:
		s.one = redis.NewFailoverClient(s.options.sentinel(l))
	default:
		s.one = redis.NewClient(s.options.single(l.hosts[0]))
	}
	return s, nil
}

// single returns the options for one server, or one node of a cluster.
//
// RESP2 has no messages that nobody has asked for. The pool for pipelines is left
// out because connections of one pool are enough to count.
func (o options) single(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, Username: o.user, Password: o.password, TLSConfig: o.tls, DB: o.database,
		Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: noMaintenance(),
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: dialTimeout, ReadTimeout: commandTimeout, WriteTimeout: commandTimeout, PoolTimeout: poolTimeout,
		PoolSize: connections, MaxActiveConns: connections, PipelinePoolSize: -1, ConnMaxIdleTime: idleTimeout,
	}
}

func (o options) cluster(addrs []string) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: addrs, Username: o.user, Password: o.password, TLSConfig: o.tls,
		Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: noMaintenance(),
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, ClusterStateReloadInterval: reload,
		MinRetryBackoff: readAgainFirst, MaxRetryBackoff: readAgainMost,
		DialTimeout: dialTimeout, ReadTimeout: commandTimeout, WriteTimeout: commandTimeout, PoolTimeout: poolTimeout,
		PoolSize: connections, MaxActiveConns: connections, PipelinePoolSize: -1, ConnMaxIdleTime: idleTimeout,
	}
}

func (o options) sentinel(l location) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: l.master, SentinelAddrs: l.hosts, SentinelUsername: l.sentinelUser, SentinelPassword: l.sentinelPassword,
		Username: o.user, Password: o.password, TLSConfig: o.tls, DB: o.database,
		Protocol: 2, DisableIdentity: true,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: dialTimeout, ReadTimeout: commandTimeout, WriteTimeout: commandTimeout, PoolTimeout: poolTimeout,
		PoolSize: connections, MaxActiveConns: connections, PipelinePoolSize: -1, ConnMaxIdleTime: idleTimeout,
	}
}

func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// any returns the client for commands that may be sent twice: that of a cluster does so
// by itself.
func (s *servers) any() redis.UniversalClient {
	if s.many != nil {
		return s.many
	}
	return s.one
}

func (s *servers) close() error {
	errs := []error{s.any().Close()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, node := range s.rest {
		errs = append(errs, node.Close())
	}
	return errors.Join(errs...)
}

// each calls f for the server, or for each node of the cluster that takes writes, at
// the same time.
func (s *servers) each(ctx context.Context, f func(ctx context.Context, node *redis.Client) error) error {
	if s.many == nil {
		return f(ctx, s.one)
	}
	return s.noticed(s.many.ForEachMaster(ctx, f))
}

// noticed returns err, and has the map of the cluster read again when it may be
// wrong. The client does that by itself only when a node points to another one, and
// a dead one does not.
func (s *servers) noticed(err error) error {
	var answer redis.Error
	if s.many != nil && err != nil && (!errors.As(err, &answer) || redis.IsClusterDownError(err) || redis.IsReadOnlyError(err)) {
		s.many.ReloadState(context.Background())
	}
	return err
}

// read sends what fill adds in one round trip to each server, once more if the
// connection breaks. The errors of the commands are theirs.
func (s *servers) read(ctx context.Context, fill func(redis.Pipeliner)) error {
	return again(ctx, func() error {
		pipe := s.any().Pipeline()
		fill(pipe)
		_, err := pipe.Exec(ctx)
		var answer redis.Error
		if errors.As(s.noticed(err), &answer) { // redis.Nil is one, too
			return nil
		}
		return err
	})
}

// again calls f, which only reads, once more when the connection broke.
func again(ctx context.Context, f func() error) error {
	err := f()
	if lost(err) && ctx.Err() == nil {
		return f()
	}
	return err
}

// eval runs a script, with the first key deciding where. An error that comes with an
// answer says that replicas may not have it.
func (s *servers) eval(ctx context.Context, sc *script, keys []string, args ...any) (answer []string, err error) {
	c := command{script: sc, keys: keys, args: args, node: s.one}
	if sc.writes {
		c.wait = s.wait
	}
	if s.many != nil {
		if c.node, err = s.many.MasterForKey(ctx, keys[0]); err != nil {
			return nil, s.noticed(err)
		}
	}
	for range redirects {
		answer, err = c.run(ctx)
		moved, toMoved := redis.IsMovedError(err)
		ask, toAsk := redis.IsAskError(err)
		switch {
		case redis.HasErrorPrefix(err, "NOSCRIPT") && !c.whole:
			c.whole = true
		case s.many != nil && (toMoved || toAsk):
			// A refusal: nothing has been done, so it can be sent elsewhere.
			s.many.ReloadState(ctx)
			c.node, c.asking = s.node(cmp.Or(moved, ask), c.node), toAsk
		default:
			return answer, s.noticed(err)
		}
	}
	return nil, fmt.Errorf("%w: the nodes of the cluster point to each other", storage.ErrUnavailable)
}

// node returns the client for the node that another one has pointed to.
func (s *servers) node(addr string, from *redis.Client) *redis.Client {
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "" || strings.HasPrefix(addr, "?") {
		fromHost, _, _ := net.SplitHostPort(from.Options().Addr)
		addr = net.JoinHostPort(fromHost, port)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rest[addr] == nil {
		for old, node := range s.rest { // any, when there are too many
			if len(s.rest) < mostNodes {
				break
			}
			node.Close()
			delete(s.rest, old)
		}
		o := s.options.single(addr)
		o.MaxIdleConns = 1 // it is needed until the map of the cluster is right again
		s.rest[addr] = redis.NewClient(o)
	}
	return s.rest[addr]
}

// A command is one script on its way.
type command struct {
	script *script
	keys   []string
	args   []any
	wait   int

	node   *redis.Client
	asking bool // the node is to answer although it does not hold the slot yet
	whole  bool // send the text of the script
}

// run sends the command once.
func (c command) run(ctx context.Context) ([]string, error) {
	args := make([]any, 0, 3+len(c.keys)+len(c.args))
	if c.whole {
		args = append(args, "eval", c.script.text)
	} else {
		args = append(args, "evalsha", c.script.sha)
	}
	args = append(args, len(c.keys))
	for _, key := range c.keys {
		args = append(args, key)
	}
	cmd := redis.NewStringSliceCmd(ctx, append(args, c.args...)...)
	if !c.asking && c.wait == 0 {
		_ = c.node.Process(ctx, cmd) // its error is the command's
		return cmd.Result()
	}
	pipe := c.node.Pipeline()
	if c.asking {
		pipe.Do(ctx, "asking")
	}
	_ = pipe.Process(ctx, cmd)
	var replicas *redis.Cmd
	if c.wait > 0 {
		replicas = pipe.Do(ctx, "wait", c.wait, waitTimeout.Milliseconds())
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	answer, err := cmd.Result()
	if err != nil || replicas == nil {
		return answer, err
	}
	// From here on the script has run, and its answer comes with any error.
	n, err := replicas.Int()
	var refusal redis.Error
	switch {
	case errors.As(err, &refusal):
		return answer, refused(refusal.Error())
	case err != nil:
		return answer, err
	case n < c.wait:
		return answer, fmt.Errorf("%w: %d of %d replicas have it after %v", storage.ErrUnavailable, n, c.wait, waitTimeout)
	}
	return answer, nil
}
