package redisstore_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// A clock stands where it is put.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A group is what a test sees of one, behind the store's back.
type group struct {
	*testing.T
	store *redisstore.Store
	clock *clock
	url   string
	nodes []*servertest.Server
	key   string
}

// groups returns a store of each layout with a group in it to look at.
func groups(t *testing.T) map[string]*group {
	t.Helper()
	all := map[string]*group{}
	for _, l := range layouts {
		c := newClock()
		url := l.url()
		_, prefix, _ := strings.Cut(url, "prefix=")
		g := &group{T: t, store: open(t, url, c.Now), clock: c, url: url, nodes: []*servertest.Server{shared.server}, key: prefix + "g group"}
		if l.name == "cluster" {
			g.nodes = shared.cluster.Nodes
		}
		all[l.name] = g
	}
	return all
}

// ask runs a command on the node that has the group.
func (g *group) ask(args ...string) any {
	g.Helper()
	for _, n := range g.nodes {
		answer, err := n.Command(args...)
		if err != nil && strings.HasPrefix(err.Error(), "MOVED") {
			continue
		}
		if err != nil {
			g.Fatalf("%s: %v", args[0], err)
		}
		return answer
	}
	g.Fatalf("%s: nobody has the key", args[0])
	return nil
}

func (g *group) members() []string {
	g.Helper()
	var members []string
	for _, m := range g.ask("ZRANGE", g.key, "0", "-1").([]any) {
		members = append(members, m.(string))
	}
	return members
}

func (g *group) size() int {
	g.Helper()
	return int(g.ask("ZCARD", g.key).(int64))
}

func (g *group) ttl() time.Duration {
	g.Helper()
	n := g.ask("PTTL", g.key).(int64)
	if n < 0 {
		return time.Duration(n)
	}
	return time.Duration(n) * time.Millisecond
}

// forget lets time pass for the entries that a cluster keeps a while because a failover
// may need them again.
func (g *group) forget() {
	g.Helper()
	if len(g.nodes) > 1 {
		g.clock.advance(11 * time.Minute)
		listed(g, g.store, "group", 100)
	}
}

// record is one of the group that lives for so long, for ever with 0.
func (g *group) record(id string, life time.Duration) storage.Record {
	r := record(id, "1", "group")
	if life != 0 {
		r.Expires = g.clock.Now().Add(life)
	}
	return r
}

// A group lives as long as what is in it, and is not told each time that one of them
// lives a little longer.
func TestGroupLife(t *testing.T) {
	for name, g := range groups(t) {
		t.Run(name, func(t *testing.T) {
			g.T = t
			r := put(t, g.store, g.record("a", 30*24*time.Hour))
			life := g.ttl()
			if life < 30*24*time.Hour {
				t.Errorf("the group lives %v, its record 30 days", life)
			}
			before := g.members()
			for range 50 { // as a session that is used
				g.clock.advance(time.Hour)
				r = next(r, "2")
				r.Expires = g.clock.Now().Add(30 * 24 * time.Hour)
				put(t, g.store, r)
			}
			if after := g.members(); !slices.Equal(before, after) {
				t.Errorf("the group was told of a life that it had: %q, then %q", before, after)
			}
			put(t, g.store, g.record("short", time.Second))
			if now := g.ttl(); now < life-time.Minute {
				t.Errorf("the group lives %v after a record joined that lives a second, %v before", now, life)
			}
			r = next(r, "3")
			r.Expires = g.clock.Now().Add(300 * 24 * time.Hour)
			put(t, g.store, r)
			if now := g.ttl(); now < 300*24*time.Hour {
				t.Errorf("the group lives %v, its record 300 days", now)
			}
			r = next(r, "4")
			r.Expires = time.Time{}
			put(t, g.store, r)
			if now := g.ttl(); now != -1 {
				t.Errorf("the group lives %v, its record for ever", now)
			}
			put(t, g.store, g.record("short too", time.Second))
			if now := g.ttl(); now != -1 {
				t.Errorf("the group lives %v, one of its records for ever", now)
			}
			if ids := listed(t, g.store, "group", 2); !slices.Equal(ids, []string{"a", "short", "short too"}) {
				t.Errorf("List = %q", ids)
			}
			g.forget()
			eventually(t, 5*time.Second, "what was moved leaves nothing behind", func() bool { return g.size() == 3 })
		})
	}
}

// What is removed, replaced or refused leaves its groups.
func TestGroupIsLeft(t *testing.T) {
	for name, g := range groups(t) {
		t.Run(name, func(t *testing.T) {
			g.T = t
			a := put(t, g.store, g.record("a", 0))
			if err := g.store.Put(t.Context(), g.record("a", 0)); err == nil {
				t.Error("a record was made twice")
			}
			a = next(a, "2")
			a.Sort = 7
			put(t, g.store, a)
			put(t, g.store, a)
			b := put(t, g.store, g.record("b", time.Minute))
			g.clock.advance(time.Hour)
			b = g.record("b", 0)
			b.Groups = []string{"another"}
			put(t, g.store, b) // in place of the expired one, which was in the group
			c := put(t, g.store, g.record("c", 0))
			if err := g.store.Delete(t.Context(), c.Key); err != nil {
				t.Fatal(err)
			}
			g.forget()
			eventually(t, 5*time.Second, "one entry is left", func() bool { return g.size() == 1 })
			if ids := listed(t, g.store, "group", 10); !slices.Equal(ids, []string{"a"}) {
				t.Errorf("List = %q, want a", ids)
			}
		})
	}
}

// Entries that nobody's record has harm nobody, wherever they are: those of a Put that
// did not come about, and a second one of the same record.
func TestDanglingEntries(t *testing.T) {
	for name, g := range groups(t) {
		t.Run(name, func(t *testing.T) {
			g.T = t
			var ids []string
			for i := range 20 {
				ids = append(ids, fmt.Sprintf("%03d", i))
				r := g.record(ids[i], 0)
				r.Sort = int64(i / 5)
				put(t, g.store, r)
			}
			for i, m := range g.members() {
				base := m[:len(m)-16]
				old := m[len(m)-16 : len(m)-8] // when it was made
				for _, sort := range []int{-1, i / 5, 9} {
					g.ask("ZADD", g.key, strconv.Itoa(sort), base+old+strconv.Itoa(sort+20_000_000))
				}
				g.ask("ZADD", g.key, strconv.Itoa(i/5), strings.Replace(m, "\x00", "\x00nobody's ", 1))
			}
			for _, limit := range []int{1, 2, 3, 7, 20, 100, storage.MaxPage} {
				if got := listed(t, g.store, "group", limit); !slices.Equal(got, ids) {
					t.Errorf("List by %d = %q", limit, got)
				}
			}
			// They are removed when they are old, and not before.
			if n := g.size(); n != 100 {
				t.Errorf("%d entries, want all 100", n)
			}
			g.clock.advance(9 * time.Minute)
			listed(t, g.store, "group", 100)
			last := put(t, g.store, record("last", "1", "group"))
			if err := g.store.Delete(t.Context(), last.Key); err != nil { // whose turn comes after theirs
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "the last one alone is removed", func() bool { return g.size() == 100 })
			g.clock.advance(2 * time.Minute)
			listed(t, g.store, "group", 100)
			eventually(t, 5*time.Second, "the dangling entries are removed", func() bool { return g.size() == 20 })
		})
	}
}

// A group that is always in use and never listed does not grow for ever.
func TestGroupShrinks(t *testing.T) {
	const living = 300
	for name, g := range groups(t) {
		t.Run(name, func(t *testing.T) {
			g.T = t
			dead := 10_000
			if name == "cluster" {
				dead = min(dead, bigGroup)
			}
			many := func(kind string, n int, life time.Duration) {
				var wg sync.WaitGroup
				for w := range 16 {
					wg.Go(func() {
						for i := w; i < n; i += 16 {
							if err := g.store.Put(t.Context(), g.record(fmt.Sprint(kind, i), life)); err != nil {
								t.Errorf("Put: %v", err)
							}
						}
					})
				}
				wg.Wait()
			}
			many("dead ", dead, -time.Hour) // Redis forgets them at once
			many("living ", living, 30*24*time.Hour)
			if n := g.size(); n != dead+living {
				t.Fatalf("%d entries, want %d", n, dead+living)
			}
			g.clock.advance(time.Hour)
			many("joining ", 64, 30*24*time.Hour)
			all := living + 64
			eventually(t, 20*time.Second, "most of the entries are living", func() bool { return g.size() < all+all/2+sample })
			if ids := listed(t, g.store, "group", storage.MaxPage); len(ids) != all {
				t.Errorf("%d records are listed, want %d", len(ids), all)
			}
		})
	}
}

// A record that has expired may live by another program's clock, which is behind. Its
// entries are not garbage before Redis has forgotten it.
func TestExpiredElsewhere(t *testing.T) {
	for name, g := range groups(t) {
		t.Run(name, func(t *testing.T) {
			behind := open(t, g.url, g.clock.Now)
			ahead := open(t, g.url, func() time.Time { return g.clock.Now().Add(24 * time.Hour) })
			r := put(t, behind, g.record("a", time.Hour))
			for range 40 {
				put(t, ahead, record(rand.Text(), "1", "group"))
			}
			if ids := listed(t, ahead, "group", 100); len(ids) != 40 {
				t.Errorf("%d records are listed, want 40", len(ids))
			}
			last := put(t, ahead, record("last", "1", "group"))
			if err := ahead.Delete(t.Context(), last.Key); err != nil { // whose turn comes after that of what was listed
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "the last one alone is removed", func() bool { return g.size() == 41 })
			put(t, behind, next(r, "2"))
			if ids := listed(t, behind, "group", 100); len(ids) != 41 {
				t.Errorf("%d records are listed, want 41", len(ids))
			}
		})
	}
}

// A failover of the node that holds a record brings back its former state, and not what
// became of its groups on other nodes. The record is still listed where it then is.
func TestRolledBack(t *testing.T) {
	g := groups(t)["cluster"]
	key := strings.TrimSuffix(g.key, "g group") + "r grant/a"
	r := put(t, g.store, g.record("a", 0))
	g.clock.advance(time.Hour)
	before := g.ask("GET", key).(string)
	moved := next(r, "2")
	moved.Sort = 7
	put(t, g.store, moved)
	listed(t, g.store, "group", 10)
	last := put(t, g.store, record("last", "1", "group"))
	if err := g.store.Delete(t.Context(), last.Key); err != nil { // whose turn comes after that of what was listed
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the last one alone is removed", func() bool { return g.size() == 2 })
	g.ask("SET", key, before)
	if got, _, err := g.store.List(t.Context(), "group", storage.Page{}); err != nil || len(got) != 1 || got[0].Version != r.Version {
		t.Errorf("List = %v, %v; want the record as it was", got, err)
	}
}

// A program that is stopped between announcing a record and storing it, for so long that
// others may have taken its entries for garbage, does not store it.
func TestStoppedInTheMidst(t *testing.T) {
	for name, g := range groups(t) {
		t.Run(name, func(t *testing.T) {
			leaping := func() time.Time {
				g.clock.advance(2 * time.Minute)
				return g.clock.Now()
			}
			s := open(t, g.url, leaping)
			r := g.record("a", 0)
			err := s.Put(t.Context(), r)
			stored := version(t, g.store, r.Key) == r.Version
			if name == "cluster" && (!errors.Is(err, storage.ErrUnavailable) || stored) {
				t.Errorf("Put = %v, stored %v; want ErrUnavailable and nothing", err, stored)
			}
			if name == "one server" && (err != nil || !stored) { // where it is one step
				t.Errorf("Put = %v, stored %v", err, stored)
			}
		})
	}
}

// sample is how many entries the collector looks at in one go.
const sample = 64

// Many entries of one sort: a page in their midst costs no more than one at their
// beginning, and the order is that of the bytes.
func TestBigGroup(t *testing.T) {
	g := groups(t)["one server"]
	var ids []string
	for i := range bigGroup {
		ids = append(ids, fmt.Sprintf("%s%06d", []string{"a", "B", "é", "\x00", "\xff"}[i%5], i))
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < len(ids); i += 16 {
				r := g.record(ids[i], 0)
				r.Sort = 42
				put(t, g.store, r)
			}
		})
	}
	wg.Wait()
	slices.Sort(ids)
	if got := listed(t, g.store, "group", 333); !slices.Equal(got, ids) {
		t.Errorf("%d records are listed, of %d, or in another order", len(got), len(ids))
	}
	for _, at := range []int{0, 1, len(ids) / 2, len(ids) - 12} {
		after := storage.Cursor{Sort: 42, Kind: storage.Grant, ID: ids[at]}.String()
		got, _, err := g.store.List(t.Context(), "group", storage.Page{After: after, Limit: 10})
		if err != nil || len(got) != 10 || got[0].Key.ID != ids[at+1] || got[9].Key.ID != ids[at+10] {
			t.Errorf("the page behind %q has %d records, %v", ids[at], len(got), err)
		}
		// Behind a place where nobody is.
		after = storage.Cursor{Sort: 42, Kind: storage.Grant, ID: ids[at] + "\x00"}.String()
		got, _, err = g.store.List(t.Context(), "group", storage.Page{After: after, Limit: 1})
		if err != nil || len(got) != 1 || got[0].Key.ID != ids[at+1] {
			t.Errorf("the page behind no record has %d records, %v", len(got), err)
		}
	}
	command(t, shared.server, "CONFIG", "RESETSTAT")
	const pages = 50
	for i := range pages {
		after := storage.Cursor{Sort: 42, Kind: storage.Grant, ID: ids[i*len(ids)/pages]}.String()
		if _, _, err := g.store.List(t.Context(), "group", storage.Page{After: after, Limit: 10}); err != nil {
			t.Fatal(err)
		}
	}
	// As many looks at the group as a search by halves takes, and no more.
	stats := command(t, shared.server, "INFO", "commandstats").(string)
	_, rest, _ := strings.Cut(stats, "cmdstat_zrange:calls=")
	text, _, _ := strings.Cut(rest, ",")
	if n, err := strconv.Atoi(text); err != nil || n > pages*25 {
		t.Errorf("%d pages of %d entries took %d looks (%v), want 25 each at most", pages, len(ids), n, err)
	}
}

// A page of big records ends early, and the walk goes on behind it.
func TestBigPages(t *testing.T) {
	g := groups(t)["one server"]
	var ids []string
	for i := range 12 {
		ids = append(ids, fmt.Sprintf("%02d", i))
		for j := range 20 {
			r := record(fmt.Sprintf("%s-%02d", ids[i], j), strings.Repeat("v", 50_000), "group")
			put(t, g.store, r)
		}
	}
	records, next, err := g.store.List(t.Context(), "group", storage.Page{Limit: storage.MaxPage})
	if err != nil || next == "" || len(records) == 0 || len(records) == 240 {
		t.Errorf("List of 12 MB = %d records, next %q, %v; want a part", len(records), next, err)
	}
	if got := listed(t, g.store, "group", storage.MaxPage); len(got) != 240 || !slices.IsSorted(got) {
		t.Errorf("%d records are listed, want 240 in order", len(got))
	}
}

// Sums stay exact where Lua's numbers are not, and at the ends of what there is.
func TestExactSums(t *testing.T) {
	s := open(t, layouts[0].url(), nil)
	const most = 1<<63 - 1
	for i, step := range []struct{ delta, want int64 }{
		{1 << 53, 1 << 53}, {1, 1<<53 + 1}, {1, 1<<53 + 2}, {-2, 1 << 53}, {1<<62 + 3, 1<<62 + 1<<53 + 3},
		{most, most}, {1, most}, {-1, most - 1}, {0, most - 1}, {-most - 1, 0}, {-most - 1, 0}, {most, most},
	} {
		if n, err := s.Add(t.Context(), counter("a"), step.delta, time.Hour); n != step.want || err != nil {
			t.Errorf("step %d: Add %d = %d, %v; want %d", i, step.delta, n, err, step.want)
		}
	}
}

// What has expired is gone from the server some time later, and what has not is not.
func TestRedisForgets(t *testing.T) {
	c := newClock()
	url := layouts[0].url()
	s := open(t, url, c.Now)
	_, prefix, _ := strings.Cut(url, "prefix=")
	r := record("a", "1")
	for _, step := range []struct {
		life        time.Duration
		least, most time.Duration
	}{
		{time.Hour, 64 * time.Minute, 65 * time.Minute}, {0, -1, -1}, {time.Minute, 5 * time.Minute, 6 * time.Minute},
		{2 * time.Minute, 6 * time.Minute, 7 * time.Minute},
	} {
		r.Expires = time.Time{}
		if step.life != 0 {
			r.Expires = c.Now().Add(step.life)
		}
		put(t, s, r)
		ttl := command(t, shared.server, "PTTL", prefix+"r grant/a").(int64)
		if d := time.Duration(ttl) * time.Millisecond; ttl != -1 && (d < step.least || d > step.most) || ttl == -1 && step.least != -1 {
			t.Errorf("a record that lives %v is kept for %dms", step.life, ttl)
		}
		r = next(r, "2")
	}
	if _, err := s.Add(t.Context(), counter("a"), 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	c.advance(30 * time.Minute)
	if _, err := s.Add(t.Context(), counter("a"), 1, 9*time.Hour); err != nil {
		t.Fatal(err)
	}
	ttl := time.Duration(command(t, shared.server, "PTTL", prefix+"c a").(int64)) * time.Millisecond
	if ttl < 64*time.Minute || ttl > 65*time.Minute {
		t.Errorf("a counter that lives an hour is kept for %v", ttl)
	}
}
