package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// readers is how many reads run at the same time. Reads of a local file are
// bound by the processor, so more would only wait elsewhere.
const readers = 4

// Config says where the store is.
type Config struct {
	// Path is the database file, required. It is created, with permissions 0600,
	// when it does not exist; so is its directory, with 0700. There is no
	// in-memory form.
	Path string

	// Now is the clock that decides what is expired. Default time.Now.
	Now func() time.Time

	// Logger is told what no caller can be: garbage that could not be collected,
	// a commit that failed. Default none.
	Logger *slog.Logger
}

// A Store is a storage.Store in one SQLite file.
type Store struct {
	now    func() time.Time
	logger *slog.Logger

	read  *sql.DB
	pages *sql.Stmt // List

	getsMu sync.Mutex
	gets   [storage.MaxKeys + 1]*sql.Stmt // by number of keys, guarded by getsMu

	writer  *writer
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer has ended
	once    sync.Once
	err     error // of Close; read after once
}

var _ storage.Store = (*Store)(nil)

// Open opens or creates the store and starts its writer, which Close ends.
//
// It returns ErrUnfit, in words for the operator, when the file is not a
// Lettergate store, is damaged, was made by a newer version, or can be read by
// other users of the machine; and ErrUnavailable when another try may succeed,
// such as when another process holds the file.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open store %q: %w", cfg.Path, err)
	}
	return s, nil
}

func open(ctx context.Context, cfg Config) (*Store, error) {
	path, err := prepareFile(cfg.Path)
	if err != nil {
		return nil, err
	}
	// The writer is first: it makes the schema that the readers need.
	w, err := openWriter(ctx, path, cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{
		now:     cfg.Now,
		logger:  cfg.Logger,
		writer:  w,
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if s.read, err = openPool(path, readers, "query_only(1)"); err == nil {
		s.pages, err = s.read.PrepareContext(ctx, selectPage)
	}
	if err != nil {
		return nil, errors.Join(fault(ctx, err), closeDB(s.read), w.close())
	}
	go func() {
		defer close(s.stopped)
		w.run(s.closing)
	}()
	return s, nil
}

// Close lets the calls that are being served end, and releases the file. Calls
// that come later get ErrUnavailable.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		<-s.stopped
		// The last connection to close tidies the file, so it is the writer's.
		s.err = errors.Join(s.read.Close(), s.writer.close())
	})
	return s.err
}

// Put implements [storage.Store].
func (s *Store) Put(ctx context.Context, r storage.Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	_, err := s.write(ctx, r.Key, newPut(r))
	return err
}

// Delete implements [storage.Store].
func (s *Store) Delete(ctx context.Context, key storage.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	d := deletion{key: key}
	_, err := s.write(ctx, key, d.apply)
	return err
}

// Add implements [storage.Store]. Sums beyond the range of int64 stay at its end.
func (s *Store) Add(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
	if err := checkAdd(key, delta, life); err != nil {
		return 0, err
	}
	a := addition{id: []byte(key.ID), delta: delta, life: life}
	return s.write(ctx, key, a.apply)
}

// Ping implements [storage.Store]. It reads, and opens a transaction as a write
// would, so it tells when another process holds the file.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	var version int
	if err := s.read.QueryRowContext(ctx, selectSchemaVersion).Scan(&version); err != nil {
		return fault(ctx, err)
	}
	if err := knownSchema(version); err != nil { // a newer version has been here
		return err
	}
	_, err := s.write(ctx, storage.Key{}, func(*transaction) (int64, error) { return 0, nil })
	return err
}

// usable reports why a call cannot begin.
func (s *Store) usable(ctx context.Context) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	select {
	case <-s.closing:
		return errClosed
	default:
		return nil
	}
}

// write has the writer apply op and waits for its commit, or for the end of ctx.
func (s *Store) write(ctx context.Context, key storage.Key, op operation) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	c := &call{ctx: ctx, durable: key.Kind.Account(), op: op, answer: make(chan answer, 1)}
	select {
	case s.writer.calls <- c:
	case <-s.closing:
		return 0, errClosed
	case <-ctx.Done():
		return 0, ended(ctx)
	}
	// From here on the writer has it, and will answer even while closing.
	select {
	case a := <-c.answer:
		return a.n, a.err
	case <-ctx.Done():
		return 0, ended(ctx)
	}
}
