package storetest

import (
	"context"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Slow returns s with a delay before each call but Close; delay is asked how long,
// with the name of the call (Get, Put, Delete, List, Add or Ping), by several
// calls at a time. A call whose ctx ends during the delay has not happened.
func Slow(s storage.Store, delay func(op string) time.Duration) storage.Store {
	return &slow{store: s, delay: delay}
}

type slow struct {
	store storage.Store
	delay func(op string) time.Duration
}

func (s *slow) wait(ctx context.Context, op string) error { return wait(ctx, s.delay(op)) }

func (s *slow) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	if err := s.wait(ctx, "Get"); err != nil {
		return nil, err
	}
	return s.store.Get(ctx, keys...)
}

func (s *slow) Put(ctx context.Context, r storage.Record) error {
	if err := s.wait(ctx, "Put"); err != nil {
		return err
	}
	return s.store.Put(ctx, r)
}

func (s *slow) Delete(ctx context.Context, key storage.Key) error {
	if err := s.wait(ctx, "Delete"); err != nil {
		return err
	}
	return s.store.Delete(ctx, key)
}

func (s *slow) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	if err := s.wait(ctx, "List"); err != nil {
		return nil, "", err
	}
	return s.store.List(ctx, group, page)
}

func (s *slow) Add(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
	if err := s.wait(ctx, "Add"); err != nil {
		return 0, err
	}
	return s.store.Add(ctx, key, delta, life)
}

func (s *slow) Ping(ctx context.Context) error {
	if err := s.wait(ctx, "Ping"); err != nil {
		return err
	}
	return s.store.Ping(ctx)
}

func (s *slow) Close() error { return s.store.Close() }
