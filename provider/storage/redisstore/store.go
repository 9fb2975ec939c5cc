package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Config says where the store is.
type Config struct {
	// URL names the servers, required:
	//
	//	redis://[[user]:password@]host[:port][/database]
	//	redis+cluster://[[user]:password@]host[:port],host[:port],…
	//	redis+sentinel://[[user]:password@]host[:port],…/master[/database]
	//
	// and the same with rediss for TLS, 1.2 or higher, with the server's certificate
	// verified. The port is 6379, that of a sentinel 26379, when it is left out. Of a
	// cluster or of sentinels some are enough; they name the others.
	//
	// Parameters, as in ?wait=1&prefix=id: (none other is accepted):
	//
	//	prefix             what every key begins with: up to 64 printable ASCII
	//	                   characters without spaces and braces; "lettergate:"
	//	ca_file            PEM certificates of who may have signed the server's, in
	//	                   place of those that the system trusts
	//	wait               how many replicas must have a write before it is
	//	                   acknowledged, 0 to 100; 0
	//	sentinel_username  user and password for the sentinels themselves
	//	sentinel_password
	URL string

	// Now is the clock that decides what is expired. Default time.Now.
	Now func() time.Time

	// Logger is told what no caller can be: a check that a server does not permit,
	// garbage that could not be collected. Default none.
	Logger *slog.Logger
}

// Check returns ErrUnfit, in words for the operator, unless Open can try to connect.
// It reads the ca_file, and asks no server. No error of this package shows a password.
func (c Config) Check() error {
	l, err := parseURL(c.URL)
	if err != nil {
		return err
	}
	_, err = l.tls()
	return err
}

// A Store is a storage.Store on Redis servers.
type Store struct {
	now     func() time.Time
	logger  *slog.Logger
	prefix  string
	servers *servers

	mu     sync.Mutex
	closed bool           // guarded by mu
	calls  sync.WaitGroup // added to under mu, while not closed

	garbage  chan garbage
	stop     context.CancelFunc // ends the collector
	stopped  chan struct{}      // closed when it has ended
	once     sync.Once
	closeErr error // of Close; read after once
}

var _ storage.Store = (*Store)(nil)

// Open connects to the servers and starts the collector of garbage, which Close ends.
//
// It returns ErrUnfit, in words for the operator, when waiting does not help: the URL
// is wrong, the servers refuse the user, evict what they hold, are older than Redis
// 6.2, are a cluster and the URL says otherwise, or hold what a newer version wrote.
// It returns ErrUnavailable when another try may succeed.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		now:     cfg.Now,
		logger:  cfg.Logger,
		prefix:  l.prefix,
		garbage: make(chan garbage, garbageQueue),
		stopped: make(chan struct{}),
	}
	if s.servers, err = connect(l); err != nil {
		return nil, fmt.Errorf("open store %s: %w", &l, err)
	}
	life, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.stopped)
		s.collect(life)
	}()
	if err := s.examine(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", &l, err), s.Close())
	}
	return s, nil
}

// Close lets the calls that are being served end, which takes less than a second, and
// closes the connections. Calls that come later get ErrUnavailable.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.calls.Wait()
		s.stop()
		<-s.stopped
		s.closeErr = s.servers.close()
	})
	return s.closeErr
}

// enter reports whether a call may begin; its end is s.calls.Done.
func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls.Add(1)
	return true
}

// An outcome is what a call returns.
type outcome[T any] struct {
	value T
	err   error
}

// call has f work, and returns when it has, when ctx is done, or after callTimeout.
// The client keeps deadlines, but does not notice a ctx that is cancelled while it
// waits for a server: so f goes on by itself then, not for long, and must use nothing
// that belongs to the caller.
func call[T any](ctx context.Context, s *Store, f func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, ended(ctx)
	}
	if !s.enter() {
		return none, errClosed
	}
	inner, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()                   // f has come to its end then, or inner to its own
	done := make(chan outcome[T], 1) // with room: the caller may be gone
	go func() {
		defer s.calls.Done()
		value, err := f(inner)
		done <- outcome[T]{value, err}
	}()
	var o outcome[T]
	select {
	case o = <-done:
	case <-inner.Done():
		select {
		case o = <-done:
		default:
			o.err = inner.Err()
		}
	}
	err := fault(o.err)
	if end, ok := inner.Deadline(); ok && err != nil && !time.Now().Before(end) {
		<-inner.Done() // a connection notices its deadline a moment earlier
	}
	switch {
	case !errors.Is(err, storage.ErrUnavailable) || inner.Err() == nil:
		return o.value, err
	case ctx.Err() != nil: // err says what was interrupted, not by what
		return none, ended(ctx)
	}
	return none, errSlow
}

// The names of keys: behind the prefix a letter and a space, which no prefix has, so
// that two prefixes never lead to one key.

func (s *Store) recordKey(key storage.Key) string { return s.prefix + "r " + key.String() }
func (s *Store) groupKey(name string) string      { return s.prefix + "g " + name }
func (s *Store) counterKey(id string) string      { return s.prefix + "c " + id }

// unixMilli is the time by the store's clock.
func (s *Store) unixMilli() int64 { return s.now().UnixMilli() }

// touch is what scripts are told so that even what changes nothing writes something,
// for WAIT to wait for.
func (s *Store) touch() string {
	if s.servers.wait > 0 {
		return "1"
	}
	return ""
}

// promised adds ErrNotDurable to an error after which a write may have been made, when
// replicas were to have it.
func (s *Store) promised(err error) error {
	if err == nil || s.servers.wait == 0 || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %w", err, storage.ErrNotDurable)
}

// Delete implements [storage.Store].
func (s *Store) Delete(ctx context.Context, key storage.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	name := s.recordKey(key)
	if key.Kind == storage.Counter {
		name = s.counterKey(key.ID)
	}
	_, err := call(ctx, s, func(ctx context.Context) (struct{}, error) {
		answer, err := s.servers.eval(ctx, deleteScript, []string{name}, string(key.Kind), s.touch())
		if err == nil {
			s.leave(key, answer[1], answer[2])
		}
		return struct{}{}, err
	})
	return s.promised(err)
}

// Add implements [storage.Store]. Sums beyond the range of int64 stay at its end.
func (s *Store) Add(ctx context.Context, key storage.Key, delta int64, lasts time.Duration) (int64, error) {
	if err := key.Check(); err != nil {
		return 0, err
	}
	if key.Kind != storage.Counter {
		return 0, fmt.Errorf("%w: add to kind %s", storage.ErrInvalid, key.Kind)
	}
	if delta > 0 && lasts < storage.MinLife {
		return 0, fmt.Errorf("%w: counter with a life of %v", storage.ErrInvalid, lasts)
	}
	n, err := call(ctx, s, func(ctx context.Context) (int64, error) {
		now := s.unixMilli()
		expires := now + lasts.Milliseconds()
		answer, err := s.servers.eval(ctx, addScript, []string{s.counterKey(key.ID)}, now, delta, expires, life(now, expires))
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(answer[1], 10, 64)
		if err != nil {
			return 0, errForeign
		}
		return n, nil
	})
	return n, s.promised(err)
}

// Ping implements [storage.Store]. It writes, so it tells when a server takes no
// writes or, with wait, has too few replicas; and it asks every node of a cluster.
func (s *Store) Ping(ctx context.Context) error {
	_, err := call(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.ping(ctx) })
	return err
}
