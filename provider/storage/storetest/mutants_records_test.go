package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

func versionMutants() []mutant {
	return []mutant{
		{"put looks at no version", lastWins, []string{"put needs the version it replaces", "racing puts have one winner", "settle says when it does not know", "update tries again after a conflict", "update gives up", "a history of one record has an order"}},
		{"put makes what was to be replaced", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if b.current(ctx, r.Key).IsZero() {
					r.Prev = storage.Version{}
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"put into nothing needs zero Prev", "random operations agree with a model"}},
		{"a put that is resent conflicts", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if b.current(ctx, r.Key).Version == r.Version {
					return storage.ErrConflict
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"put again succeeds"}},
		{"a put that is resent is made again", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if b.current(ctx, r.Key).Version == r.Version && !r.Version.IsZero() {
					r.Prev = storage.Version{}
					if err := b.Store.Delete(ctx, r.Key); err != nil {
						return err
					}
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"put again succeeds"}},
		{"every version is remembered as put", func(b *broken) {
			var versions sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				if _, ok := versions.Load(r.Version); ok {
					return nil
				}
				err := b.Store.Put(ctx, r)
				if err == nil {
					versions.Store(r.Version, true)
				}
				return err
			}
		}, []string{"put again after a successor conflicts"}},
		{"versions are compared by half", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if cur := b.current(ctx, r.Key).Version; !cur.IsZero() && string(cur[:8]) == string(r.Prev[:8]) {
					r.Prev = cur
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"versions are compared whole"}},
		{"a put that conflicts is no error", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if err := b.Store.Put(ctx, r); !errors.Is(err, storage.ErrConflict) {
					return err
				}
				return nil
			}
		}, []string{"put needs the version it replaces", "settle knows a put whose reply was lost", "a history with lost replies has an order"}},
	}
}

func getMutants() []mutant {
	return []mutant{
		{"get answers in the order of the keys", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				keys = slices.Clone(keys)
				slices.SortFunc(keys, func(a, b storage.Key) int { return strings.Compare(a.ID, b.ID) })
				return b.Store.Get(ctx, keys...)
			}
		}, []string{"get many in order"}},
		{"get answers a key once", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				for i := range got {
					if slices.Contains(keys[:i], keys[i]) {
						got[i] = storage.Record{}
					}
				}
				return got, err
			}
		}, []string{"get many in order"}},
		{"get answers a key twice with the same memory", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				for i := range got {
					got[i] = got[slices.Index(keys, keys[i])]
				}
				return got, err
			}
		}, []string{"get one key many times"}},
		{"get names what is absent", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				for i := range got {
					got[i].Key = keys[i]
				}
				return got, err
			}
		}, []string{"get absent"}},
		{"get takes any number of keys", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				var all []storage.Record
				for _, k := range keys {
					got, err := b.Store.Get(ctx, k)
					if err != nil {
						return nil, err
					}
					all = append(all, got...)
				}
				return all, nil
			}
		}, []string{"get at most MaxKeys"}},
		{"an empty value is invalid", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if len(r.Value) == 0 {
					return storage.ErrInvalid
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"empty value"}},
		{"no groups are other groups than nil", func(b *broken) {
			var nils sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				if was, ok := nils.LoadOrStore(r.Key, r.Groups == nil); ok && was != (r.Groups == nil) {
					return storage.ErrInvalid
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"no groups"}},
	}
}

func deleteMutants() []mutant {
	return []mutant{
		{"ping fails", func(b *broken) {
			b.ping = func(context.Context) error { return storage.ErrUnavailable }
		}, []string{"ping"}},
		{"delete of nothing is an error", func(b *broken) {
			b.delete = func(ctx context.Context, key storage.Key) error {
				if key.Kind != storage.Counter && b.current(ctx, key).IsZero() {
					return storage.ErrConflict
				}
				return b.Store.Delete(ctx, key)
			}
		}, []string{"delete"}},
		{"what was deleted can be replaced", func(b *broken) {
			var versions sync.Map
			b.delete = func(ctx context.Context, key storage.Key) error {
				versions.Store(key, b.current(ctx, key).Version)
				return b.Store.Delete(ctx, key)
			}
			b.put = func(ctx context.Context, r storage.Record) error {
				if v, ok := versions.Load(r.Key); ok && v == r.Prev {
					r.Prev = storage.Version{}
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"a version never returns"}},
		{"what was deleted cannot be made", func(b *broken) {
			var dead sync.Map
			b.delete = func(ctx context.Context, key storage.Key) error {
				if key.Kind != storage.Counter && !b.current(ctx, key).IsZero() {
					dead.Store(key, true)
				}
				return b.Store.Delete(ctx, key)
			}
			b.put = func(ctx context.Context, r storage.Record) error {
				if _, ok := dead.Load(r.Key); ok {
					return storage.ErrConflict
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"a deleted record is made anew"}},
		{"what was deleted stays in its groups", func(b *broken) {
			ghosts := map[storage.Key]storage.Record{}
			var mu sync.Mutex
			b.delete = func(ctx context.Context, key storage.Key) error {
				mu.Lock()
				defer mu.Unlock()
				if ghost := b.current(ctx, key); key.Kind != storage.Counter && !ghost.IsZero() {
					ghosts[key] = ghost
				}
				return b.Store.Delete(ctx, key)
			}
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				all, err := b.all(ctx, group)
				if err != nil {
					return nil, "", err
				}
				mu.Lock()
				defer mu.Unlock()
				for _, ghost := range ghosts {
					if slices.Contains(ghost.Groups, group) {
						all = append(all, ghost)
					}
				}
				return paged(all, page)
			}
		}, []string{"delete"}},
		{"a put is made later than it is acknowledged", func(b *broken) {
			var writing sync.WaitGroup
			b.put = func(ctx context.Context, r storage.Record) error {
				if err := r.Check(); err != nil {
					return err
				}
				r.Value, r.Groups = slices.Clone(r.Value), slices.Clone(r.Groups)
				writing.Go(func() { b.Store.Put(context.WithoutCancel(ctx), r) })
				return nil
			}
			b.close = func() error { writing.Wait(); return b.Store.Close() }
		}, []string{"put needs the version it replaces"}},
		{"the engine's own version is returned", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				for i := range got {
					if !got[i].IsZero() {
						got[i].Prev = got[i].Version
					}
				}
				return got, err
			}
		}, []string{"get present"}},
	}
}

// lastWins replaces whatever is there.
func lastWins(b *broken) {
	b.put = func(ctx context.Context, r storage.Record) error {
		for {
			if cur := b.current(ctx, r.Key); cur.Version != r.Version {
				r.Prev = cur.Version
			}
			if err := b.Store.Put(ctx, r); !errors.Is(err, storage.ErrConflict) {
				return err
			}
		}
	}
}

func expiryMutants() []mutant {
	return []mutant{
		{"the clock is the machine's", func(b *broken) { b.clock = time.Now }, []string{"expired is absent", "a clock far in the past"}},
		{"the clock is a millisecond late", func(b *broken) {
			b.clock = func() time.Time { return b.now().Add(-time.Millisecond) }
		}, []string{"expired is absent"}},
		{"the clock is rounded up", func(b *broken) {
			b.clock = func() time.Time { return b.now().Add(time.Millisecond - 1) }
		}, []string{"expired is absent"}},
		{"expiry in seconds", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				r.Expires = r.Expires.Truncate(time.Second)
				return b.Store.Put(ctx, r)
			}
		}, []string{"get present"}},
		{"expiry in nanoseconds", func(b *broken) {
			var exact sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				exact.Store(r.Version, r.Expires)
				return b.Store.Put(ctx, r)
			}
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				for i := range got {
					if t, ok := exact.Load(got[i].Version); ok {
						got[i].Expires, _ = t.(time.Time)
					}
				}
				return got, err
			}
		}, []string{"expiry is kept to the millisecond"}},
		{"expiry as nanoseconds since 1970", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if !r.Expires.IsZero() {
					r.Expires = time.Unix(0, r.Expires.UnixNano()) // which ends in 2262
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"expiry may be far"}},
		{"never is twenty years", func(b *broken) {
			const most = 20 * 365 * 24 * time.Hour
			b.put = func(ctx context.Context, r storage.Record) error {
				if r.Expires.IsZero() {
					r.Expires = b.now().Add(most)
				}
				return b.Store.Put(ctx, r)
			}
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				for i := range got {
					if got[i].Expires.Sub(b.now()) > most/2 {
						got[i].Expires = time.Time{}
					}
				}
				return got, err
			}
		}, []string{"never expires"}},
		{"expiry is never taken back", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if cur := b.current(ctx, r.Key); r.Expires.IsZero() && cur.Version == r.Prev {
					r.Expires = cur.Expires
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"expiry may change"}},
	}
}

func expiredMutants() []mutant {
	return []mutant{
		{"what has expired is invalid", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if !r.Expires.IsZero() && !r.Expires.After(b.now()) {
					return fmt.Errorf("%w: expired", storage.ErrInvalid)
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"put what has expired"}},
		{"the expired is in the way", func(b *broken) {
			var known sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				if _, ok := known.Load(r.Key); ok && r.Prev.IsZero() {
					return storage.ErrConflict
				}
				err := b.Store.Put(ctx, r)
				if err == nil {
					known.Store(r.Key, true)
				}
				return err
			}
			b.delete = func(ctx context.Context, key storage.Key) error {
				known.Delete(key)
				return b.Store.Delete(ctx, key)
			}
		}, []string{"expired is replaced with zero Prev", "racing puts replace the expired"}},
		{"the expired keeps its groups", func(b *broken) {
			var known sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				groups := fmt.Sprint(r.Groups)
				if was, ok := known.Load(r.Key); ok && was != groups && b.current(ctx, r.Key).IsZero() && r.Prev.IsZero() {
					return storage.ErrInvalid
				}
				err := b.Store.Put(ctx, r)
				if err == nil {
					known.Store(r.Key, groups)
				}
				return err
			}
			b.delete = func(ctx context.Context, key storage.Key) error {
				known.Delete(key)
				return b.Store.Delete(ctx, key)
			}
		}, []string{"expired is replaced with zero Prev"}},
		{"the expired is listed", func(b *broken) {
			listsExpired(b, func(records []storage.Record, next string, _ int) ([]storage.Record, string) { return records, next })
		}, []string{"expired is absent"}},
		{"a page of the expired is the last", func(b *broken) {
			listsExpired(b, func(records []storage.Record, next string, limit int) ([]storage.Record, string) {
				records = slices.DeleteFunc(records, func(r storage.Record) bool { return !r.Expires.IsZero() && !r.Expires.After(b.now()) })
				if len(records) == 0 {
					next = ""
				}
				return records, next
			})
		}, []string{"pages pass over the expired"}},
		{"a group lives as long as what came last", func(b *broken) { groupLife(b, func(_, last time.Time) time.Time { return last }) }, []string{"expiry changes many times", "the expired take nobody along"}},
		{"a group lives as long as the shortest", func(b *broken) {
			groupLife(b, func(was, last time.Time) time.Time {
				if was.IsZero() || !last.IsZero() && last.Before(was) {
					return last
				}
				return was
			})
		}, []string{"expiry changes many times"}},
		{"the database removes by its own clock", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				err := b.Store.Put(ctx, r)
				if err == nil && !r.Expires.IsZero() && r.Expires.Before(time.Now()) {
					return b.Store.Delete(ctx, r.Key)
				}
				return err
			}
		}, []string{"a clock far in the past"}},
	}
}

// listsExpired lists with a clock that is long behind, and has filter do the rest.
func listsExpired(b *broken, filter func(records []storage.Record, next string, limit int) ([]storage.Record, string)) {
	var mu sync.Mutex
	behind := false
	b.clock = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		if behind {
			return time.Unix(0, 0)
		}
		return b.now()
	}
	b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
		set := func(to bool) { mu.Lock(); behind = to; mu.Unlock() }
		set(true)
		records, next, err := b.Store.List(ctx, group, page)
		set(false)
		if err == nil {
			records, next = filter(records, next, page.Limit)
		}
		return records, next, err
	}
}

// groupLife has a group end as a whole, at a time that is computed from what it was
// and the expiry of the record that is put.
func groupLife(b *broken, end func(was, last time.Time) time.Time) {
	ends := map[string]time.Time{}
	var mu sync.Mutex
	b.put = func(ctx context.Context, r storage.Record) error {
		err := b.Store.Put(ctx, r)
		mu.Lock()
		defer mu.Unlock()
		for _, g := range r.Groups {
			if err == nil {
				ends[g] = end(ends[g], r.Expires)
			}
		}
		return err
	}
	b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
		mu.Lock()
		over := !ends[group].IsZero() && b.now().After(ends[group].Add(5*time.Minute))
		mu.Unlock()
		if over {
			return nil, "", nil
		}
		return b.Store.List(ctx, group, page)
	}
}
