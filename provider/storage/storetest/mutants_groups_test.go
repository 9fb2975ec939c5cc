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

// relisted lists by what change makes of the whole group.
func relisted(b *broken, change func(ctx context.Context, group string, all []storage.Record) []storage.Record) {
	b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
		all, err := b.all(ctx, group)
		if err != nil {
			return nil, "", err
		}
		return paged(change(ctx, group, all), page)
	}
}

func listMutants() []mutant {
	return []mutant{
		{"a group that was never there is an error", func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				records, next, err := b.Store.List(ctx, group, page)
				if err == nil && len(records) == 0 && page == (storage.Page{}) {
					err = errors.New("no such group")
				}
				return records, next, err
			}
		}, []string{"list an empty group"}},
		{"a list has no order", func(b *broken) {
			relisted(b, func(_ context.Context, _ string, all []storage.Record) []storage.Record {
				slices.SortFunc(all, func(a, b storage.Record) int { return strings.Compare(a.Key.ID, b.Key.ID) })
				return all
			})
		}, []string{"list in order"}},
		{"a list is ordered by sort and id", func(b *broken) {
			relisted(b, func(_ context.Context, _ string, all []storage.Record) []storage.Record {
				slices.SortStableFunc(all, func(a, b storage.Record) int {
					if a.Sort != b.Sort {
						return storage.CursorOf(a).Compare(storage.CursorOf(b))
					}
					return strings.Compare(a.Key.ID, b.Key.ID)
				})
				return all
			})
		}, []string{"list in order", "list pages of equal sort"}},
		{"a list has its kinds backwards", func(b *broken) {
			relisted(b, func(_ context.Context, _ string, all []storage.Record) []storage.Record {
				slices.SortStableFunc(all, func(a, b storage.Record) int {
					if a.Sort != b.Sort {
						return storage.CursorOf(a).Compare(storage.CursorOf(b))
					}
					return strings.Compare(string(b.Key.Kind), string(a.Key.Kind))
				})
				return all
			})
		}, []string{"list several kinds"}},
		{"sorts are numbers of 32 bits", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				r.Sort = int64(float32(r.Sort))
				return b.Store.Put(ctx, r)
			}
		}, []string{"list in order"}},
		{"only the first group is listed", func(b *broken) {
			relisted(b, func(_ context.Context, group string, all []storage.Record) []storage.Record {
				return slices.DeleteFunc(all, func(r storage.Record) bool { return r.Groups[0] != group })
			})
		}, []string{"list several groups"}},
		{"a list returns parts of records", func(b *broken) {
			relisted(b, func(_ context.Context, _ string, all []storage.Record) []storage.Record {
				for i := range all {
					all[i].Expires = time.Time{}
				}
				return all
			})
		}, []string{"list returns whole records"}},
		{"a list has records as they were when they joined", func(b *broken) {
			var first sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				err := b.Store.Put(ctx, r)
				if err == nil && r.Prev.IsZero() {
					first.Store(r.Key, r.Value)
				}
				return err
			}
			relisted(b, func(_ context.Context, _ string, all []storage.Record) []storage.Record {
				for i := range all {
					if value, ok := first.Load(all[i].Key); ok {
						all[i].Value, _ = value.([]byte)
					}
				}
				return all
			})
		}, []string{"list returns whole records"}},
	}
}

func groupMutants() []mutant {
	return []mutant{
		{"the sort never changes", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if cur := b.current(ctx, r.Key); !cur.IsZero() && cur.Version == r.Prev {
					r.Sort = cur.Sort
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"a change of sort moves"}},
		{"a record that moves is also where it was", func(b *broken) {
			places := map[storage.Key]map[int64]bool{}
			var mu sync.Mutex
			b.put = func(ctx context.Context, r storage.Record) error {
				err := b.Store.Put(ctx, r)
				mu.Lock()
				defer mu.Unlock()
				if places[r.Key] == nil {
					places[r.Key] = map[int64]bool{}
				}
				if err == nil {
					places[r.Key][r.Sort] = true
				}
				return err
			}
			relisted(b, func(_ context.Context, _ string, all []storage.Record) []storage.Record {
				mu.Lock()
				defer mu.Unlock()
				for _, r := range slices.Clone(all) {
					for sort := range places[r.Key] {
						if old := r; sort != r.Sort {
							old.Sort = sort
							all = append(all, old)
						}
					}
				}
				slices.SortFunc(all, func(a, b storage.Record) int { return storage.CursorOf(a).Compare(storage.CursorOf(b)) })
				return all
			})
		}, []string{"a record moved often is listed once"}},
		{"groups may change", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				cur := b.current(ctx, r.Key)
				if !cur.IsZero() && cur.Version == r.Prev && !slices.Equal(cur.Groups, r.Groups) {
					r.Prev = storage.Version{}
					if err := b.Store.Delete(ctx, r.Key); err != nil {
						return err
					}
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"groups are fixed"}},
		{"groups may be in another order", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				cur := b.current(ctx, r.Key)
				if slices.Equal(slices.Sorted(slices.Values(cur.Groups)), slices.Sorted(slices.Values(r.Groups))) {
					r.Groups = cur.Groups
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"groups are fixed"}},
		{"groups are judged before the version", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				if cur := b.current(ctx, r.Key); !cur.IsZero() && cur.Version != r.Version && !slices.Equal(cur.Groups, r.Groups) {
					return fmt.Errorf("%w: groups", storage.ErrInvalid)
				}
				return b.Store.Put(ctx, r)
			}
		}, []string{"the version is judged before the groups"}},
	}
}

func garbageMutants() []mutant {
	return []mutant{
		{"what is collected may be back", func(b *broken) {
			var known, dangling sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				known.Store(r.Key, true)
				return b.Store.Put(ctx, r)
			}
			relisted(b, func(ctx context.Context, _ string, all []storage.Record) []storage.Record {
				left := slices.DeleteFunc(all, func(r storage.Record) bool { _, ok := dangling.LoadAndDelete(r.Key); return ok })
				known.Range(func(key, _ any) bool {
					if k, ok := key.(storage.Key); ok && b.current(ctx, k).IsZero() {
						dangling.Store(k, true) // removed by the next list
					}
					return true
				})
				return left
			})
		}, []string{"only garbage is collected", "a deleted record is made anew"}},
		{"what was refused is listed", refusedListed, []string{"a refused put leaves the groups alone", "racing puts into other groups"}},
		{"what was refused has moved", func(b *broken) {
			var sorts sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				if err := r.Check(); err == nil {
					sorts.Store(r.Key, r.Sort)
				}
				return b.Store.Put(ctx, r)
			}
			relisted(b, func(_ context.Context, _ string, all []storage.Record) []storage.Record {
				place := func(r storage.Record) storage.Cursor {
					at := storage.CursorOf(r)
					if sort, ok := sorts.Load(r.Key); ok {
						at.Sort, _ = sort.(int64)
					}
					return at
				}
				slices.SortFunc(all, func(a, b storage.Record) int { return place(a).Compare(place(b)) })
				return all
			})
		}, []string{"a refused put leaves the groups alone"}},
	}
}

// refusedListed leaves entries of refused Puts in the groups, and shows what is now
// under their keys.
func refusedListed(b *broken) {
	entries := map[string]map[storage.Key]bool{}
	var mu sync.Mutex
	b.put = func(ctx context.Context, r storage.Record) error {
		mu.Lock()
		for _, g := range r.Groups {
			if entries[g] == nil {
				entries[g] = map[storage.Key]bool{}
			}
			entries[g][r.Key] = true
		}
		mu.Unlock()
		return b.Store.Put(ctx, r)
	}
	b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
		mu.Lock()
		defer mu.Unlock()
		var all []storage.Record
		for key := range entries[group] {
			if r := b.current(ctx, key); !r.IsZero() {
				all = append(all, r)
			}
		}
		slices.SortFunc(all, func(a, b storage.Record) int { return storage.CursorOf(a).Compare(storage.CursorOf(b)) })
		return paged(all, page)
	}
}

func untilMutants() []mutant {
	changed := func(change func(page *storage.Page)) func(b *broken) {
		return func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				change(&page)
				return b.Store.List(ctx, group, page)
			}
		}
	}
	return []mutant{
		{"until is left out", changed(func(p *storage.Page) { p.Until = 0 }), []string{"list until"}},
		{"until is not included", changed(func(p *storage.Page) {
			if p.Until != 0 {
				p.Until--
			}
		}), []string{"list until"}},
		{"a negative until is none", changed(func(p *storage.Page) { p.Until = max(0, p.Until) }), []string{"list until"}},
		{"the limit is left out", changed(func(p *storage.Page) {
			if p.Limit > 0 && p.Limit <= storage.MaxPage {
				p.Limit = storage.MaxPage
			}
		}), []string{"list page by page"}},
		{"the default limit is one more", changed(func(p *storage.Page) {
			if p.Limit == 0 {
				p.Limit = storage.DefaultPage + 1
			}
		}), []string{"list page by page"}},
		{"a page has at most 500 records", changed(func(p *storage.Page) {
			if p.Limit > 500 {
				p.Limit = -1
			}
		}), []string{"list the largest page"}},
		{"a limit that is too high is cut", changed(func(p *storage.Page) { p.Limit = min(p.Limit, storage.MaxPage) }), []string{"list refuses a bad page"}},
		{"a negative limit is the default", changed(func(p *storage.Page) { p.Limit = max(p.Limit, 0) }), []string{"list refuses a bad page"}},
		{"a made-up place is the beginning", changed(func(p *storage.Page) {
			if _, err := storage.ParseCursor(p.After); err != nil {
				p.After = ""
			}
		}), []string{"list refuses a made-up place"}},
		{"places are read without their line breaks", changed(func(p *storage.Page) {
			p.After = strings.NewReplacer("\n", "", "\r", "").Replace(p.After)
		}), []string{"list refuses a made-up place"}},
	}
}

func placeMutants() []mutant {
	changed := func(change func(page *storage.Page)) func(b *broken) {
		return func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				change(&page)
				return b.Store.List(ctx, group, page)
			}
		}
	}
	return []mutant{
		{"a page begins behind the sort", changed(func(p *storage.Page) {
			if c, err := storage.ParseCursor(p.After); err == nil && p.After != "" {
				c.Kind, c.ID = storage.Verification, "\xff\xff\xff"
				p.After = c.String()
			}
		}), []string{"list pages of equal sort", "weakest is within the contract"}},
		{"a page begins behind the id, whatever its kind", func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				all, err := b.all(ctx, group)
				after, until, limit, bad := page.Check()
				if err := errors.Join(err, bad); err != nil {
					return nil, "", err
				}
				all = slices.DeleteFunc(all, func(r storage.Record) bool {
					return r.Sort > until || r.Sort < after.Sort || r.Sort == after.Sort && r.Key.ID <= after.ID
				})
				if len(all) <= limit {
					return all, "", nil
				}
				return all[:limit], storage.CursorOf(all[limit-1]).String(), nil
			}
		}, []string{"a page begins behind any place"}},
		{"a page begins at a record that must be there", func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				if c, err := storage.ParseCursor(page.After); err == nil && page.After != "" {
					r := b.current(ctx, storage.Key{Kind: c.Kind, ID: c.ID})
					if r.IsZero() {
						return nil, "", nil
					}
					page.After = storage.CursorOf(r).String()
				}
				return b.Store.List(ctx, group, page)
			}
		}, []string{"a page begins behind what is gone"}},
		{"a page begins at a number", func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				var skip int
				if page.After != "" {
					if _, err := fmt.Sscanf(page.After, "%d", &skip); err != nil {
						return nil, "", storage.ErrInvalid
					}
				}
				all, err := b.all(ctx, group)
				page.After = ""
				if _, _, bad := paged(nil, page); err != nil || bad != nil {
					return nil, "", errors.Join(err, bad)
				}
				records, next, err := paged(all[min(skip, len(all)):], page)
				if next != "" {
					next = fmt.Sprint(skip + len(records))
				}
				return records, next, err
			}
		}, []string{"list page by page"}},
		{"the last page says that more follows", func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				records, next, err := b.Store.List(ctx, group, page)
				if err == nil && next == "" {
					next = storage.Cursor{Sort: storage.MaxSort, Kind: storage.Verification, ID: "\xff"}.String()
				}
				return records, next, err
			}
		}, []string{"a page begins behind any place"}},
		{"the page before the last says that none follows", func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				records, next, err := b.Store.List(ctx, group, page)
				if err == nil && next != "" {
					if more, after, _ := b.Store.List(ctx, group, storage.Page{After: next}); len(more) < 2 && after == "" {
						next = ""
					}
				}
				return records, next, err
			}
		}, []string{"list page by page"}},
	}
}
