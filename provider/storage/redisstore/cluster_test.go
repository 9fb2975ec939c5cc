package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// slotOf returns the slot of a key and who holds it.
func slotOf(t *testing.T, c *servertest.Cluster, key string) (slot, owner int) {
	t.Helper()
	slot, err := c.Slot(key)
	if err == nil {
		owner, err = c.Owner(slot)
	}
	if err != nil {
		t.Fatal(err)
	}
	return slot, owner
}

// FT-13: a slot on its way from one node to another. Of its keys some are here and some
// are there, and a store that has never heard of it follows.
func TestSlotOnItsWay(t *testing.T) {
	c := shared.cluster
	prefix := fmt.Sprint(shared.stores.Add(1), ":")
	s := open(t, clusterURL(c)+"?prefix="+prefix, nil)
	// A tag has all of this in one slot, which nothing else of the store needs.
	id := func(i int) string { return fmt.Sprintf("{tag}%d", i) }
	slot, from := slotOf(t, c, "{tag}")
	to := (from + 1) % len(c.Nodes)
	var old []storage.Record
	for i := range 20 {
		old = append(old, put(t, s, record(id(i), "1", "g of {tag}")))
		if _, err := s.Add(t.Context(), counter(id(i)), 1, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.BeginMove(slot, from, to); err != nil {
		t.Fatal(err)
	}
	var moved []string
	for i := range 10 {
		moved = append(moved, prefix+"r grant/"+id(i), prefix+"c "+id(i))
	}
	if err := c.MoveKeys(slot, from, to, moved...); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		for i := range old { // what is here, what is there, and what is new
			old[i] = put(t, s, next(old[i], when))
			if version(t, s, old[i].Key) != old[i].Version {
				t.Errorf("%s: a record is not what was put", when)
			}
			if n, err := s.Add(t.Context(), counter(id(i)), 1, time.Hour); err != nil || n < 2 {
				t.Errorf("%s: Add = %d, %v", when, n, err)
			}
			if err := s.Put(t.Context(), record(id(i), "other", "g of {tag}")); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("%s: Put over a record = %v, want ErrConflict", when, err)
			}
		}
		fresh := put(t, s, record(fmt.Sprintf("{tag}%s", when), "1", "g of {tag}", "another of {tag}"+when))
		if ids := listed(t, s, "g of {tag}", 6); len(ids) != len(old)+1 {
			t.Errorf("%s: %d records are listed, want %d", when, len(ids), len(old)+1)
		}
		if err := s.Delete(t.Context(), fresh.Key); err != nil {
			t.Errorf("%s: Delete: %v", when, err)
		}
		if ids := listed(t, s, "another of {tag}"+when, 6); len(ids) != 0 {
			t.Errorf("%s: what was deleted is listed", when)
		}
	}
	check("half way")
	if err := c.MoveKeys(slot, from, to); err != nil {
		t.Fatal(err)
	}
	check("before the end")
	if err := c.EndMove(slot, from, to); err != nil {
		t.Fatal(err)
	}
	check("at the end")
	if err := c.MoveSlot(slot, to, from); err != nil { // for the other tests
		t.Fatal(err)
	}
	check("back again")
	for i := range old {
		if n, err := s.Add(t.Context(), counter(id(i)), 0, time.Hour); n != 5 || err != nil {
			t.Errorf("after five Adds there is %d, %v", n, err)
		}
	}
}

// FT-13: slots move to and fro under load. Every answer is right, and few are late.
func TestSlotsMoveUnderLoad(t *testing.T) {
	c := shared.cluster
	s := open(t, fmt.Sprintf("%s?prefix=%d:", clusterURL(c), shared.stores.Add(1)), nil)
	const keys = 6
	var made, failed atomic.Int64
	var counts [keys]atomic.Int64
	var unsure [keys]atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range keys {
		wg.Go(func() {
			id := fmt.Sprintf("{slot %d}", w)
			var cur storage.Record
			for i := int64(1); !stop.Load(); i++ {
				r := record(id, fmt.Sprint(i), "g"+id)
				r.Prev, r.Sort = cur.Version, i%3
				made.Add(3)
				switch err := storage.Settle(t.Context(), s, r); {
				case err == nil:
					cur = r
				case errors.Is(err, storage.ErrUnavailable):
					failed.Add(1)
					if v := version(t, s, r.Key); v == r.Version {
						cur = r
					}
				default:
					t.Errorf("Put while slots move = %v", err)
					return
				}
				if n, err := s.Add(t.Context(), counter(id), 1, time.Hour); err == nil {
					if sum := counts[w].Add(1); n < sum || n > sum+unsure[w].Load() {
						t.Errorf("Add = %d, want %d", n, sum)
					}
				} else {
					failed.Add(1)
					unsure[w].Add(1)
				}
				switch got, err := members(t.Context(), s, "g"+id); {
				case err != nil:
					failed.Add(1)
				case len(got) != 1 || got[0].Version != cur.Version:
					t.Errorf("List found %d records, want the one that was put", len(got))
				}
			}
		})
	}
	for w := range keys {
		slot, from := slotOf(t, c, fmt.Sprintf("{slot %d}", w))
		to := (from + 1) % len(c.Nodes)
		for _, move := range [][2]int{{from, to}, {to, from}} {
			if err := c.MoveSlot(slot, move[0], move[1]); err != nil {
				t.Error(err)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d calls, %d failed", made.Load(), failed.Load())
	if failed.Load()*100 > made.Load() {
		t.Errorf("%d of %d calls failed while slots moved, want 1 in 100 at most", failed.Load(), made.Load())
	}
}

// members lists a group to its end: what its record was a moment ago fills pages that
// have nothing in them.
func members(ctx context.Context, s storage.Store, group string) (all []storage.Record, err error) {
	page := storage.Page{}
	for {
		got, next, err := s.List(ctx, group, page)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if next == "" {
			return all, nil
		}
		page.After = next
	}
}

// A node that dies fails what it holds. The rest goes on, where the cluster is to do
// that, and all of it when the node is back.
func TestNodeDies(t *testing.T) {
	c := shared.cluster
	s := open(t, fmt.Sprintf("%s?prefix=%d:", clusterURL(c), shared.stores.Add(1)), nil)
	var records []storage.Record
	for i := range 30 {
		records = append(records, put(t, s, record(fmt.Sprint(i), "1", fmt.Sprint("g", i))))
	}
	if err := c.Nodes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	dead := 0
	for _, r := range records {
		begin := time.Now()
		got, err := s.Get(t.Context(), r.Key)
		if took := time.Since(begin); took > slowest {
			t.Errorf("Get took %v", took)
		}
		switch {
		case errors.Is(err, storage.ErrUnavailable):
			dead++
		case err != nil || got[0].Version != r.Version:
			t.Errorf("Get = %v, %v", got, err)
		}
	}
	if dead == 0 || dead == len(records) {
		t.Errorf("%d of %d records cannot be read, want a third", dead, len(records))
	}
	if err := s.Ping(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Ping = %v, want ErrUnavailable", err)
	}
	if err := c.Nodes[1].Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	recovers(t, s)
	gone := 0
	for _, r := range records {
		if version(t, s, r.Key) != r.Version {
			gone++
		}
	}
	if gone != dead { // it keeps nothing on disk
		t.Errorf("%d records are gone, %d were on the node that died", gone, dead)
	}
}
