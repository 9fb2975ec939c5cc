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

// openStore opens the engine that the configuration names.
func openStore(ctx context.Context, cfg config.Config, now func() time.Time, log *slog.Logger) (storage.Store, error) {
	path, ok := cfg.SQLitePath()
	if !ok {
		return nil, fmt.Errorf("%w: storage.url names no engine of this release, which has sqlite only", storage.ErrUnfit)
	}
	return sqlstore.Open(ctx, sqlstore.Config{Path: path, Now: now, Logger: log})
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
