package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// A lateStore is the provider's store before and after it is opened: until then
// every call is an outage. It owns the store only if it opened it.
type lateStore struct {
	opener func(context.Context) (storage.Store, error)
	own    bool
	inner  atomic.Pointer[storage.Store]
}

func newLateStore(cfg config.Config, deps Deps) *lateStore {
	if deps.Store != nil {
		return &lateStore{opener: func(ctx context.Context) (storage.Store, error) {
			return deps.Store, deps.Store.Ping(ctx)
		}}
	}
	return &lateStore{own: true, opener: func(ctx context.Context) (storage.Store, error) {
		return openStore(ctx, cfg, deps.Now, deps.Logger)
	}}
}

// openStore opens what the configuration names: one store for everything, or one for
// accounts and one for the rest.
func openStore(ctx context.Context, cfg config.Config, now func() time.Time, log *slog.Logger) (storage.Store, error) {
	rest, err := openEngine(ctx, cfg, cfg.Storage.URL, now, log)
	if err != nil {
		return nil, fmt.Errorf("storage.url: %w", err)
	}
	if cfg.Storage.AccountsURL == "" {
		return rest, nil
	}
	accounts, err := openEngine(ctx, cfg, cfg.Storage.AccountsURL, now, log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("storage.accounts_url: %w", err), rest.Close())
	}
	return storage.Split(accounts, rest), nil
}

// openEngine opens the store that a URL of the configuration names.
func openEngine(ctx context.Context, cfg config.Config, url config.Secret, now func() time.Time, log *slog.Logger) (storage.Store, error) {
	var store storage.Store
	var err error
	switch engine := config.StorageEngine(url); engine {
	case config.EngineSQLite:
		path, _ := cfg.SQLitePathOf(url)
		store, err = sqlstore.Open(ctx, sqlstore.Config{Path: path, Now: now, Logger: log})
	case config.EnginePostgres:
		store, err = sqlstore.OpenPostgres(ctx, sqlstore.PostgresConfig{URL: url.Reveal(), Now: now, Logger: log})
	case config.EngineRedis:
		store, err = redisstore.Open(ctx, redisstore.Config{URL: url.Reveal(), Now: now, Logger: log})
	default:
		err = fmt.Errorf("%w: %q is no engine", storage.ErrUnfit, engine)
	}
	if err != nil {
		return nil, err // not store: a nil pointer in it would be no nil
	}
	return store, nil
}

// CheckStore opens the store that url, a URL of cfg.Storage, names as a Provider would,
// tries every operation on it with records of its own that it removes again, and
// closes it. Tables that are missing are made. The error wraps storage.ErrUnavailable
// when the store cannot be reached, storage.ErrUnfit when it answers but cannot be used,
// and says which operation failed. CheckStore does not see whose tokens a store holds.
// It may be called beside a running Provider.
func CheckStore(ctx context.Context, cfg config.Config, url config.Secret, log *slog.Logger) error {
	store, err := openEngine(ctx, cfg, url, time.Now, log)
	if err != nil {
		return err
	}
	return errors.Join(storage.Probe(ctx, store, time.Now()), store.Close())
}

func (s *lateStore) open(ctx context.Context) error {
	store, err := s.opener(ctx)
	if err != nil {
		return err
	}
	s.inner.Store(&store)
	return nil
}

func (s *lateStore) closeOwn() error {
	if store := s.inner.Load(); store != nil && s.own {
		return (*store).Close()
	}
	return nil
}

var errNotOpen = fmt.Errorf("%w: not open yet", storage.ErrUnavailable)

// use returns the store, or errNotOpen.
func (s *lateStore) use() (storage.Store, error) {
	if store := s.inner.Load(); store != nil {
		return *store, nil
	}
	return nil, errNotOpen
}

func (s *lateStore) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	store, err := s.use()
	if err != nil {
		return nil, err
	}
	return store.Get(ctx, keys...)
}

func (s *lateStore) Put(ctx context.Context, r storage.Record) error {
	store, err := s.use()
	if err != nil {
		return err
	}
	return store.Put(ctx, r)
}

func (s *lateStore) Delete(ctx context.Context, key storage.Key) error {
	store, err := s.use()
	if err != nil {
		return err
	}
	return store.Delete(ctx, key)
}

func (s *lateStore) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	store, err := s.use()
	if err != nil {
		return nil, "", err
	}
	return store.List(ctx, group, page)
}

func (s *lateStore) Add(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
	store, err := s.use()
	if err != nil {
		return 0, err
	}
	return store.Add(ctx, key, delta, life)
}

func (s *lateStore) Ping(ctx context.Context) error {
	store, err := s.use()
	if err != nil {
		return err
	}
	return store.Ping(ctx)
}

func (s *lateStore) Close() error { return errors.New("the provider closes its own store") }
