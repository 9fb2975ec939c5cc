package redisstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// A lossy is a store whose connections go through proxies, one before each server.
type lossy struct {
	storage.Store
	proxies []*servertest.Proxy
}

// cut loses the answers to the next n requests, on each connection's way, that hold
// match.
func (l *lossy) cut(match string, n int) {
	for _, p := range l.proxies {
		p.CutReply(match, n)
	}
}

func (l *lossy) half(match string, n int) {
	for _, p := range l.proxies {
		p.CutRequest(match, n)
	}
}

func (l *lossy) pass() {
	for _, p := range l.proxies {
		p.Pass()
	}
}

func (l *lossy) fired() int {
	n := 0
	for _, p := range l.proxies {
		n += p.Fired()
	}
	return n
}

// lossyStores returns a store on one server and one on a cluster, each empty.
func lossyStores(t *testing.T) map[string]*lossy {
	t.Helper()
	proxy := servertest.NewProxy(t, shared.server.Addr)
	url := fmt.Sprintf("%s?prefix=%d:", redisURL(proxy.Addr), shared.stores.Add(1))
	one := &lossy{open(t, url, nil), []*servertest.Proxy{proxy}}

	many := &lossy{}
	var addrs []string
	for _, node := range shared.cluster.Nodes {
		p := servertest.NewProxy(t, node.Addr)
		many.proxies, addrs = append(many.proxies, p), append(addrs, p.Addr)
		_, port, _ := strings.Cut(p.Addr, ":")
		command(t, node, "CONFIG", "SET", "cluster-announce-port", port)
	}
	announced := func() bool {
		for _, node := range shared.cluster.Nodes {
			for _, addr := range addrs {
				if !strings.Contains(command(t, node, "CLUSTER", "NODES").(string), addr+"@") {
					return false
				}
			}
		}
		return true
	}
	eventually(t, 10*time.Second, "the cluster names the proxies", announced)
	t.Cleanup(func() {
		addrs = shared.cluster.Addrs
		for _, node := range shared.cluster.Nodes {
			command(t, node, "CONFIG", "SET", "cluster-announce-port", "0")
		}
		eventually(t, 10*time.Second, "the cluster names the servers", announced)
	})
	url = fmt.Sprintf("redis+cluster://%s?prefix=%d:", strings.Join(addrs, ","), shared.stores.Add(1))
	many.Store = open(t, url, nil)
	for _, s := range []*lossy{one, many} {
		exercise(t, s) // so that each server knows the scripts, and an answer that is lost is one
	}
	return map[string]*lossy{"one server": one, "cluster": many}
}

// unknown checks that err says that nobody knows.
func unknown(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrConflict) {
		t.Errorf("%s whose answer was lost = %v, want ErrUnavailable", what, err)
	}
}

// FT-08: the answer of each kind of call is lost. Nothing is done twice, nobody who won
// is told that he lost, and whoever sends a Put again learns what became of it.
func TestLostReplies(t *testing.T) {
	for name, s := range lossyStores(t) {
		t.Run(name, func(t *testing.T) {
			for kind, once := range map[string]func(t *testing.T, s *lossy, round int){
				"Put new":     lostNew,
				"Put replace": lostReplace,
				"Put move":    lostMove,
				"Put refused": lostConflict,
				"Delete":      lostDelete,
				"Add":         lostAdd,
				"Get":         lostGet,
				"List":        lostList,
				"half a Put":  lostHalf,
			} {
				t.Run(kind, func(t *testing.T) {
					for round := range lostRounds {
						once(t, s, round)
						s.pass()
						if t.Failed() {
							t.Fatalf("in round %d", round)
						}
					}
				})
			}
			t.Run("races", func(t *testing.T) { lostRaces(t, s) })
		})
	}
}

// mustFire checks that what was to be cut has been.
func mustFire(t *testing.T, s *lossy, n int) {
	t.Helper()
	if got := s.fired(); got < 1 || got > n {
		t.Errorf("%d requests were cut, want 1 to %d: something was sent again, or never", got, n)
	}
}

// inGroup checks that a record is listed in its groups once.
func inGroup(t *testing.T, s *lossy, r storage.Record) {
	t.Helper()
	for _, g := range r.Groups {
		if ids := listed(t, s, g, 10); len(ids) != 1 || ids[0] != r.Key.ID {
			t.Errorf("%s lists %q, want %q", g, ids, r.Key.ID)
		}
	}
}

func lostNew(t *testing.T, s *lossy, round int) {
	id := fmt.Sprint("new-", round)
	r := record(id, "1", "g1 of "+id, "g2 of "+id)
	if round%4 == 0 {
		r.Groups = nil
	}
	s.cut(id, 100)
	unknown(t, "a Put", s.Put(t.Context(), r))
	// In a cluster the groups may be on two nodes, told at the same time.
	mustFire(t, s, 2)
	s.pass()
	stored := version(t, s, r.Key) == r.Version
	if round%4 == 0 && !stored {
		t.Error("the record is not there")
	}
	if stored {
		inGroup(t, s, r)
	}
	if err := s.Put(t.Context(), r); err != nil { // again, by who has lost the answer
		t.Errorf("the same Put again = %v", err)
	}
	inGroup(t, s, r)
	if err := s.Put(t.Context(), record(id, "2", r.Groups...)); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("another's Put = %v, want ErrConflict", err)
	}
}

func lostReplace(t *testing.T, s *lossy, round int) {
	id := fmt.Sprint("replaced-", round)
	old := put(t, s, record(id, "1", "g of "+id))
	r := next(old, "2")
	s.cut(id, 100)
	unknown(t, "a Put", s.Put(t.Context(), r))
	mustFire(t, s, 1)
	s.pass()
	if version(t, s, r.Key) != r.Version {
		t.Error("the record was not replaced")
	}
	if err := s.Put(t.Context(), r); err != nil {
		t.Errorf("the same Put again = %v", err)
	}
	if err := s.Put(t.Context(), next(old, "3")); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("another's Put = %v, want ErrConflict", err)
	}
	inGroup(t, s, r)
}

func lostMove(t *testing.T, s *lossy, round int) {
	id := fmt.Sprint("moved-", round)
	r := next(put(t, s, record(id, "1", "g1 of "+id, "g2 of "+id)), "2")
	r.Sort = int64(round + 1)
	s.cut(id, 1+round%3) // one of the steps that a move has in a cluster
	if err := s.Put(t.Context(), r); err != nil {
		unknown(t, "a Put", err)
	}
	s.pass()
	if v := version(t, s, r.Key); v != r.Version && v != r.Prev {
		t.Error("neither the old nor the new record is there")
	}
	inGroup(t, s, r)
	if err := s.Put(t.Context(), r); err != nil {
		t.Errorf("the same Put again = %v", err)
	}
	inGroup(t, s, r)
	if got, _, err := s.List(t.Context(), r.Groups[0], storage.Page{}); err != nil || len(got) != 1 || got[0].Sort != r.Sort {
		t.Errorf("List = %v, %v; want the record at its new place", got, err)
	}
}

func lostConflict(t *testing.T, s *lossy, round int) {
	id := fmt.Sprint("refused-", round)
	put(t, s, record(id, "1", "g of "+id))
	s.cut(id, 100)
	late := record(id, "2", "g of "+id)
	unknown(t, "a Put", s.Put(t.Context(), late))
	s.pass()
	if err := s.Put(t.Context(), late); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("the same Put again = %v, want ErrConflict", err)
	}
}

func lostDelete(t *testing.T, s *lossy, round int) {
	id := fmt.Sprint("deleted-", round)
	r := put(t, s, record(id, "1", "g of "+id))
	s.cut(id, 100)
	unknown(t, "a Delete", s.Delete(t.Context(), r.Key))
	s.pass()
	if !version(t, s, r.Key).IsZero() {
		t.Error("the record is still there")
	}
	if err := s.Delete(t.Context(), r.Key); err != nil {
		t.Errorf("the same Delete again = %v", err)
	}
	if ids := listed(t, s, "g of "+id, 10); len(ids) != 0 {
		t.Errorf("%q are listed", ids)
	}
}

func lostAdd(t *testing.T, s *lossy, round int) {
	key := counter(fmt.Sprint("added-", round))
	for i := int64(1); i <= 3; i++ {
		if i == int64(1+round%3) {
			s.cut(key.ID, 100)
			_, err := s.Add(t.Context(), key, 1, time.Hour)
			unknown(t, "an Add", err)
			mustFire(t, s, 1)
			s.pass()
			continue
		}
		if n, err := s.Add(t.Context(), key, 1, time.Hour); n != i || err != nil {
			t.Errorf("Add = %d, %v; want %d", n, err, i)
		}
	}
	if n, err := s.Add(t.Context(), key, 0, time.Hour); n != 3 || err != nil {
		t.Errorf("after three Adds there is %d, %v", n, err)
	}
}

func lostGet(t *testing.T, s *lossy, round int) {
	id := fmt.Sprint("got-", round)
	r, other := put(t, s, record(id, "1")), put(t, s, record(id+"'", "2"))
	s.cut(id, 1)
	got, err := s.Get(t.Context(), r.Key, record("nobody", "").Key, other.Key)
	if err != nil {
		t.Fatalf("Get whose answer was lost = %v; it can be asked for again", err)
	}
	mustFire(t, s, 3)
	if got[0].Version != r.Version || !got[1].IsZero() || got[2].Version != other.Version {
		t.Errorf("Get = %v", got)
	}
}

func lostList(t *testing.T, s *lossy, round int) {
	id := fmt.Sprint("listed-", round)
	r := put(t, s, record(id, "1", "g of "+id))
	s.cut(id, 1)
	got, _, err := s.List(t.Context(), "g of "+id, storage.Page{})
	if err != nil {
		t.Fatalf("List whose answer was lost = %v; it can be asked for again", err)
	}
	mustFire(t, s, 2)
	if len(got) != 1 || got[0].Version != r.Version {
		t.Errorf("List = %v", got)
	}
}

// lostHalf loses a part of the request, so that no server ever sees all of it.
func lostHalf(t *testing.T, s *lossy, round int) {
	id := fmt.Sprint("half-", round)
	r := record(id, strings.Repeat("v", 2000), "g of "+id)
	s.half(id, 100)
	unknown(t, "a Put", s.Put(t.Context(), r))
	s.pass()
	if !version(t, s, r.Key).IsZero() {
		t.Error("half a request was carried out")
	}
	if err := s.Put(t.Context(), r); err != nil {
		t.Errorf("the same Put again = %v", err)
	}
	inGroup(t, s, r)
}

// lostRaces has many race for one record while answers get lost. Whoever settles it
// learns the truth, and there is one winner at most.
func lostRaces(t *testing.T, s *lossy) {
	const racers = 8
	for round := range lostRounds / 4 {
		id := fmt.Sprint("race-", round)
		s.cut(id, 2)
		var versions [racers]storage.Version
		var errs [racers]error
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				r := record(id, "1", "g of "+id)
				r.Sort = int64(i)
				versions[i] = r.Version
				errs[i] = storage.Settle(t.Context(), s, r)
			})
		}
		wg.Wait()
		s.pass()
		winner := version(t, s, record(id, "").Key)
		for i, err := range errs {
			switch {
			case err == nil && versions[i] != winner:
				t.Errorf("racer %d was told that he won, and did not", i)
			case errors.Is(err, storage.ErrConflict) && versions[i] == winner:
				t.Errorf("racer %d won, and was told that he did not", i)
			case err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrUnavailable):
				t.Errorf("racer %d: %v", i, err)
			}
		}
		if ids := listed(t, s, "g of "+id, 3); !winner.IsZero() && len(ids) != 1 {
			t.Errorf("the group lists %q", ids)
		}
	}
}
