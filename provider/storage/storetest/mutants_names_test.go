package storetest_test

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// renamed changes every name on its way in, and back on its way out.
func renamed(id, group func(string) string) func(b *broken) {
	return func(b *broken) {
		var ids, groups sync.Map // what was given, by what it became
		key := func(k storage.Key) storage.Key {
			to := storage.Key{Kind: k.Kind, ID: id(k.ID)}
			ids.Store(to, k.ID)
			return to
		}
		back := func(r storage.Record) storage.Record {
			if was, ok := ids.Load(r.Key); ok {
				r.Key.ID, _ = was.(string)
			}
			for i, g := range r.Groups {
				if was, ok := groups.Load(g); ok {
					r.Groups[i], _ = was.(string)
				}
			}
			return r
		}
		b.put = func(ctx context.Context, r storage.Record) error {
			r.Key = key(r.Key)
			named := make([]string, len(r.Groups))
			for i, g := range r.Groups {
				named[i] = group(g)
				groups.Store(named[i], g)
			}
			r.Groups = named
			return b.Store.Put(ctx, r)
		}
		b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
			named := make([]storage.Key, len(keys))
			for i, k := range keys {
				named[i] = key(k)
			}
			got, err := b.Store.Get(ctx, named...)
			for i := range got {
				got[i] = back(got[i])
			}
			return got, err
		}
		b.delete = func(ctx context.Context, k storage.Key) error { return b.Store.Delete(ctx, key(k)) }
		b.list = func(ctx context.Context, g string, page storage.Page) ([]storage.Record, string, error) {
			records, next, err := b.Store.List(ctx, group(g), page)
			for i := range records {
				records[i] = back(records[i])
			}
			return records, next, err
		}
		b.add = func(ctx context.Context, k storage.Key, delta int64, life time.Duration) (int64, error) {
			return b.Store.Add(ctx, key(k), delta, life)
		}
	}
}

func same(s string) string { return s }

// first returns what is before the first zero byte, as C does.
func first(s string) string { head, _, _ := strings.Cut(s, "\x00"); return head }

// short returns what fits into a column of 255 bytes.
func short(s string) string { return s[:min(len(s), 255)] }

func nameMutants() []mutant {
	return []mutant{
		{"ids end at a zero byte", renamed(first, same), []string{"hostile ids"}},
		{"ids end after 255 bytes", renamed(short, same), []string{"hostile ids"}},
		{"ids are equal in any case", renamed(strings.ToLower, same), []string{"hostile ids"}},
		{"ids are trimmed", renamed(strings.TrimSpace, same), []string{"hostile ids"}},
		{"ids are the last part of a path", renamed(path.Base, same), []string{"hostile ids", "scopes are apart"}},
		{"ids are text", renamed(func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }, same), []string{"hostile ids"}},
		{"group names end at a zero byte", renamed(same, first), []string{"groups with similar names"}},
		{"group names end after 255 bytes", renamed(same, short), []string{"groups with similar names", "four groups of long names"}},
		{"a group is a record's neighbour", func(b *broken) {
			// Both are keys of one table, so that one deletes the other.
			b.delete = func(ctx context.Context, key storage.Key) error {
				all, err := b.all(ctx, key.ID)
				if err != nil {
					return err
				}
				for _, r := range all {
					if err := b.Store.Delete(ctx, r.Key); err != nil {
						return err
					}
				}
				return b.Store.Delete(ctx, key)
			}
		}, []string{"groups and ids are apart"}},
		{"kind and id are one name", func(b *broken) {
			var keys sync.Map // the first key of each name
			key := func(k storage.Key) storage.Key {
				first, _ := keys.LoadOrStore(string(k.Kind)+k.ID, k)
				k, _ = first.(storage.Key)
				return k
			}
			b.put = func(ctx context.Context, r storage.Record) error {
				r.Key = key(r.Key)
				return b.Store.Put(ctx, r)
			}
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				for i, k := range keys {
					keys[i] = key(k)
				}
				return b.Store.Get(ctx, keys...)
			}
		}, []string{"kinds do not collide"}},
	}
}

func valueMutants() []mutant {
	return []mutant{
		{"there is no slack", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if len(r.Value) > storage.MaxValueBytes || len(r.Key.ID) > storage.MaxIDBytes {
					return storage.ErrInvalid
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"limits"}},
		{"what is invalid is unavailable", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if err := r.Check(); err != nil {
					return fmt.Errorf("%w: %v", storage.ErrUnavailable, err) //nolint:errorlint // that is the fault
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"limits"}},
		{"values are text", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				r.Value = []byte(strings.ToValidUTF8(string(r.Value), "\ufffd"))
				return b.Store.Put(ctx, r)
			}
		}, []string{"values of any bytes"}},
		{"values end before their last zero bytes", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				r.Value = bytes.TrimRight(r.Value, "\x00")
				return b.Store.Put(ctx, r)
			}
		}, []string{"values of any bytes", "scope finds what was moved or damaged"}},
		{"values end after 65535 bytes", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				r.Value = r.Value[:min(len(r.Value), 1<<16-1)]
				return b.Store.Put(ctx, r)
			}
		}, []string{"values of any bytes"}},
		{"a value may have 512 KiB", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if len(r.Value) > 1<<19 {
					return storage.ErrInvalid
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"big values"}},
		{"values are kept as they were given", func(b *broken) {
			var values sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				values.Store(r.Version, r.Value)
				return b.Store.Put(ctx, r)
			}
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				for i := range got {
					if value, ok := values.Load(got[i].Version); ok {
						got[i].Value, _ = value.([]byte)
					}
				}
				return got, err
			}
		}, []string{"the caller's slices"}},
		{"put writes into the value", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				err := b.Store.Put(ctx, r)
				_ = append(r.Value, "a frame"...)
				return err
			}
		}, []string{"the caller's slices"}},
	}
}
