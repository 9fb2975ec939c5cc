package provider_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// FT-08, through the front door: the database does what it was asked to, and its answer
// is lost on the way. These tests have servers of their own, behind a proxy; without
// -engine they run on PostgreSQL and on Redis.

// A loss is what happens to the answers of a database, of which each call of a request
// gets its turn.
type loss struct {
	mu    sync.Mutex // also held through each call: one at a time, so that a place is one call
	armed bool
	call  int  // whose answers are lost, from 1
	on    bool // and those of every later call
	first bool // only the first answer of the call, not that of trying again
	calls []op // of the request
	fired int  // answers that were lost
	other bool // a call of which none was to be lost had no answer either: a busy machine

	counted map[storage.Key]int64 // what every counter must be at
}

// An op is one call of a store.
type op struct {
	name string
	key  storage.Key // the first one of a Get
	next bool        // of a Put: it replaces another record
	sure bool        // an answer that is lost is asked for again
}

func (o op) String() string { return strings.TrimSpace(o.name + " " + string(o.key.Kind)) }

// arm loses the answers to a call, or to it and all that follow.
func (l *loss) arm(call int, on, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed, l.call, l.on, l.first, l.calls, l.fired, l.other = true, call, on, first, nil, 0, false
}

// disarm returns the calls there were, and how many answers were lost.
func (l *loss) disarm() (calls []op, fired int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	return l.calls, l.fired
}

// A lossy is a store of which two are open: one as it is, and while answers may be lost
// one whose connections go through proxies.
type lossy struct {
	*loss
	storage.Store
	behind  storage.Store
	proxies []*servertest.Proxy
	match   func(name string) string // is in what each call sends, and in nothing else
	reads   bool                     // are sent again by the store itself
}

func (s lossy) do(o op, with func(storage.Store) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		return with(s.Store)
	}
	call := func() error { return with(s.behind) }
	s.calls = append(s.calls, o)
	if n := len(s.calls); n != s.call && !(s.on && n > s.call) {
		err := call()
		s.other = s.other || errors.Is(err, storage.ErrUnavailable)
		return err
	}
	most := 100
	if s.first {
		most = 1
	}
	for _, p := range s.proxies {
		p.CutReply(s.match(o.name), most)
	}
	err := call()
	for _, p := range s.proxies {
		p.Pass()
		s.fired += p.Fired()
	}
	return err
}

func (s lossy) Get(ctx context.Context, keys ...storage.Key) (records []storage.Record, err error) {
	err = s.do(op{name: "Get", key: keys[0], sure: s.reads}, func(db storage.Store) error { records, err = db.Get(ctx, keys...); return err })
	return records, err
}

func (s lossy) Put(ctx context.Context, r storage.Record) error {
	// What became of it is asked by Settle. In a cluster it has several steps, and is given
	// up when one of the first is lost.
	return s.do(op{"Put", r.Key, !r.Prev.IsZero(), len(s.proxies) == 1}, func(db storage.Store) error { return db.Put(ctx, r) })
}

func (s lossy) Delete(ctx context.Context, k storage.Key) error {
	return s.do(op{name: "Delete", key: k}, func(db storage.Store) error {
		delete(s.counted, k)
		return db.Delete(ctx, k)
	})
}

func (s lossy) List(ctx context.Context, group string, p storage.Page) (records []storage.Record, next string, err error) {
	err = s.do(op{name: "List", sure: s.reads}, func(db storage.Store) error { records, next, err = db.List(ctx, group, p); return err })
	return records, next, err
}

func (s lossy) Add(ctx context.Context, k storage.Key, delta int64, life time.Duration) (n int64, err error) {
	err = s.do(op{name: "Add", key: k}, func(db storage.Store) error {
		s.counted[k] = max(0, s.counted[k]+delta)
		n, err = db.Add(ctx, k, delta, life)
		return err
	})
	return n, err
}

// execute is how a client of PostgreSQL ends what it wants executed (Execute, Sync). No
// other request of ours has it: what prepares a statement or a connection has not.
const execute = "E\x00\x00\x00\x09\x00\x00\x00\x00\x00S\x00\x00\x00\x04"

func matchPostgres(string) string { return execute }

func matchRedis(name string) string {
	if name == "Get" {
		return "\r\n$3\r\nget\r\n"
	}
	return "evalsha"
}

// losers are servers with an empty store each, by name: the store without loss, and one
// that has it.
func losers(t *testing.T, l *loss) map[string][2]storage.Store {
	t.Helper()
	of := func(url, addr string, match func(string) string, reads bool) [2]storage.Store {
		proxy := servertest.NewProxy(t, addr)
		behind := strings.Replace(url, addr, proxy.Addr, 1)
		plain := openURL(t, url, nil)
		return [2]storage.Store{plain, lossy{l, plain, openURL(t, behind, nil), []*servertest.Proxy{proxy}, match, reads}}
	}
	postgres := func() [2]storage.Store {
		d := servertest.Postgres(t)
		return of(d.New(t), d.Addr, matchPostgres, false)
	}
	redis := func() [2]storage.Store {
		s := servertest.Redis(t)
		return of("redis://"+s.Addr, s.Addr, matchRedis, true)
	}
	switch *engineName {
	case "postgres":
		return map[string][2]storage.Store{"postgres": postgres()}
	case "redis":
		return map[string][2]storage.Store{"redis": redis()}
	case "cluster":
		return map[string][2]storage.Store{"cluster": lossyCluster(t, l)}
	case "split":
		accounts, rest := postgres(), redis()
		return map[string][2]storage.Store{"split": {storage.Split(accounts[0], rest[0]), storage.Split(accounts[1], rest[1])}}
	}
	return map[string][2]storage.Store{"postgres": postgres(), "redis": redis()}
}

// lossyCluster is a cluster that names the proxies in place of its nodes.
func lossyCluster(t *testing.T, l *loss) [2]storage.Store {
	t.Helper()
	cluster := servertest.RedisCluster(t)
	url := func(addrs []string) string { return "redis+cluster://" + strings.Join(addrs, ",") }
	plain := openURL(t, url(cluster.Addrs), nil)
	var proxies []*servertest.Proxy
	var addrs []string
	for _, node := range cluster.Nodes {
		p := servertest.NewProxy(t, node.Addr)
		proxies, addrs = append(proxies, p), append(addrs, p.Addr)
		_, port, _ := strings.Cut(p.Addr, ":")
		if _, err := node.Command("CONFIG", "SET", "cluster-announce-port", port); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 10*time.Second, "every node names the proxies", func() bool {
		for _, node := range cluster.Nodes {
			said, err := node.Command("CLUSTER", "NODES")
			if text, _ := said.(string); err != nil || slices.ContainsFunc(addrs, func(a string) bool { return !strings.Contains(text, a+"@") }) {
				return false
			}
		}
		return true
	})
	return [2]storage.Store{plain, lossy{l, plain, openURL(t, url(addrs), nil), proxies, matchRedis, true}}
}

// within waits until is, and fails the test when that takes longer than most.
func within(t *testing.T, most time.Duration, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(most)
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, most)
		}
	}
}

// timed asks, and fails the test when the answer is late.
func timed(t *testing.T, what string, ask func() answer) answer {
	t.Helper()
	begun := time.Now()
	a := ask()
	if took := time.Since(begun); took > patience {
		t.Errorf("%s: answered after %v, want %v at most", what, took, patience)
	}
	return a
}

// A lostFlow is a request whose answers from the database are lost, with what has to hold
// of it afterwards.
type lostFlow struct {
	name string
	ok   int  // the status with a store that works
	once bool // it can succeed once only
	// spends is the kind of the record whose replacement decides, if it can be too late
	// to ask again then.
	spends storage.Kind
	// prepare does what comes before. settled is given every answer of the status ok.
	prepare func(s *server, address string) (ask func() answer, settled func(t *testing.T, won []answer))
}

func lostFlows() []lostFlow {
	return []lostFlow{
		{"start of a verification", http.StatusOK, false, "", func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			return func() answer { return s.post("/oauth2/verification", "client_id", nativeID, "email", address) },
				func(t *testing.T, won []answer) { // the code that was promised last comes, and works
					if len(won) == 0 {
						return
					}
					id := won[len(won)-1].json(t)["verification_id"].(string)
					within(t, 10*time.Second, "a mail with the code", func() bool {
						return s.redeem(started{id, s.code(address)}).status == http.StatusOK
					})
				}
		}},
		{"mailed code of a new person", http.StatusOK, true, storage.Verification, redeemed},
		{"mailed code of a known person", http.StatusOK, true, storage.Verification, func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			s.tokens(address)
			return redeemed(s, address)
		}},
		{"code page of a new person", http.StatusSeeOther, true, storage.Verification, func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			b := s.browser()
			return codeSentFrom(b, authorizePath(webID), address), func(t *testing.T, won []answer) {
				if len(won) > 0 && !b.isSignedIn() {
					t.Error("the browser was told that it is signed in, and is not")
				}
			}
		}},
		{"code exchange", http.StatusOK, true, storage.Grant, func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			code := s.browser().signIn(authorizePath(webID), address).arrives(s.t, callback).Get("code")
			return func() answer { return s.exchange(code) }, s.holds(address)
		}},
		{"refresh", http.StatusOK, false, "", func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			token := s.tokens(address)["refresh_token"].(string)
			return func() answer { return s.refresh(token) }, s.oneSuccessor(address)
		}},
		{"refresh in the grace", http.StatusOK, false, "", func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			tokens := s.tokens(address)
			s.rotated(tokens)
			return func() answer { return s.refresh(tokens["refresh_token"].(string)) }, s.oneSuccessor(address)
		}},
		{"revocation of an access token", http.StatusOK, false, "", func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			tokens := s.tokens(address)
			access := tokens["access_token"].(string)
			return func() answer { return s.revoke(access) }, func(t *testing.T, won []answer) {
				if a := s.userinfo(access); len(won) > 0 && a.status != http.StatusUnauthorized {
					t.Errorf("a revoked access token: %d", a.status)
				}
				s.rotated(tokens)
			}
		}},
		{"revocation of a refresh token", http.StatusOK, false, "", func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			tokens := s.tokens(address)
			return func() answer { return s.revoke(tokens["refresh_token"].(string)) }, func(t *testing.T, won []answer) {
				if len(won) > 0 {
					s.dead(tokens)
				}
			}
		}},
		{"sign-out", http.StatusSeeOther, false, "", func(s *server, address string) (func() answer, func(*testing.T, []answer)) {
			b, tokens := s.signedIn(address, "openid")
			issuer, err := url.Parse(s.provider.Issuer())
			if err != nil {
				s.t.Fatal(err)
			}
			copied := s.browser() // which has the cookie after the other has dropped it
			copied.client.Jar.SetCookies(issuer, b.client.Jar.Cookies(issuer))
			path := logoutPath("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", bye)
			return func() answer { return b.send(s.request("GET", path, "")) }, func(t *testing.T, won []answer) {
				if len(won) == 0 {
					return
				}
				if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized || copied.isSignedIn() {
					t.Errorf("signed out, and the access token gets %d", a.status)
				}
			}
		}},
	}
}

func redeemed(s *server, address string) (func() answer, func(*testing.T, []answer)) {
	v := s.begin(address, "scope", "openid offline_access")
	return func() answer { return s.redeem(v) }, s.holds(address)
}

// holds is what holds of tokens that were given for something that works once.
func (s *server) holds(address string) func(*testing.T, []answer) {
	return func(t *testing.T, won []answer) {
		t.Helper()
		if len(won) > 1 {
			t.Errorf("%d winners", len(won))
		}
		for _, a := range won {
			info := s.userinfo(a.json(t)["access_token"].(string))
			if want := s.account(address).Subject; info.status != http.StatusOK || info.json(t)["sub"] != want {
				t.Errorf("the winner's token gets %d %s, want the account %s", info.status, info.body, want)
			}
		}
	}
}

// oneSuccessor is what holds of the answers to one refresh token.
func (s *server) oneSuccessor(address string) func(*testing.T, []answer) {
	return func(t *testing.T, won []answer) {
		t.Helper()
		successors := map[any]bool{}
		for _, a := range won {
			successors[a.json(t)["refresh_token"]] = true
		}
		if len(successors) > 1 {
			t.Errorf("%d successors of one refresh token", len(successors))
		}
		s.holds(address)(t, won[:min(1, len(won))])
	}
}

// TestFT08_LostReplies loses the answers to each call of each flow in turn: the first
// answer of the call, all of its answers however often it is tried, and those of all
// calls from it on.
//
// Whatever is lost, the answer is the right one or an outage, soon. A decision whose
// answer alone was lost is found out: who won is told so. After an outage the same
// request gets the right answer; only when the outage came behind the decision about a
// code, which nobody may hear of twice, has it to be started anew, and that works.
// Every counter is where the tries have brought it.
func TestFT08_LostReplies(t *testing.T) {
	l := &loss{counted: map[storage.Key]int64{}}
	for engine, stores := range losers(t, l) {
		onEachNode(t, stores[0])
		whole := start(t, options{direct: true, store: func(storage.Store) storage.Store { return requestsOnly{stores[0], stores[1]} }})
		for i, fl := range lostFlows() {
			t.Run(engine+"/"+fl.name, func(t *testing.T) {
				s := *whole
				s.t = t
				anew := map[string]bool{}
				for call := 1; ; call++ {
					r := lostRun{t, &s, l, fl, fmt.Sprintf("loss%d-%d", i, call), call, anew}
					lost, more := r.lose("every", false, false)
					if !more {
						break
					}
					r.lose("later", true, false)
					if lost.name == "Get" || lost.name == "List" { // which may be sent again
						r.lose("first", false, true)
					}
				}
				t.Logf("to be started anew when the answer was lost to: %s", strings.Join(slices.Sorted(maps.Keys(anew)), ", "))
			})
		}
		for key, want := range l.counted {
			if n, err := stores[0].Add(t.Context(), key, 0, time.Hour); n != want || err != nil {
				t.Errorf("%s: counter %.12s… is at %d, %v; %d tries were made", engine, key.ID, n, err, want)
			}
		}
		if len(l.counted) == 0 {
			t.Errorf("%s: nothing was counted, so nothing was tested", engine)
		}
		clear(l.counted)
	}
}

// onEachNode counts something on each node of a cluster. Before that a node does not
// know the script that counts and refuses it, and an Add whose refusal is lost was not
// counted.
func onEachNode(t *testing.T, s storage.Store) {
	t.Helper()
	for i := range 64 {
		if _, err := s.Add(t.Context(), storage.Key{Kind: storage.Counter, ID: fmt.Sprint("node ", i)}, 1, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
}

// A lostRun is one flow of which one call loses answers.
type lostRun struct {
	t    *testing.T
	s    *server
	l    *loss
	flow lostFlow
	name string
	call int
	anew map[string]bool // what was lost when it had to be started anew
}

// lose does the flow. It returns the call that lost its answer, and whether the flow has
// so many.
func (r lostRun) lose(mode string, on, first bool) (lost op, more bool) {
	t, fl, address := r.t, r.flow, r.name+mode+"@example.com"
	t.Helper()
	ask, settled := fl.prepare(r.s, address)
	r.l.arm(r.call, on, first)
	a := timed(t, address, ask)
	calls, fired := r.l.disarm()
	if len(calls) < r.call {
		if a.status != fl.ok {
			t.Fatalf("with a store that works: %d %.300s", a.status, a.body)
		}
		return op{}, false
	}
	lost = calls[r.call-1]
	what := fmt.Sprintf("answer lost to call %d of %v (%s)", r.call, calls, mode)
	if fired == 0 {
		t.Fatalf("%s: no answer was lost", what)
	}
	a.leaksNothing(t, what)
	var won []answer
	if a.status == fl.ok {
		won = append(won, a)
	} else {
		a.isOutage(t, what)
		if lost.sure && !on && (first || lost.name == "Put") && !r.l.other {
			t.Errorf("%s: %d although it is known what became of it", what, a.status)
		}
	}
	settled(t, won)

	again := timed(t, "again, "+what, ask)
	switch decided := slices.ContainsFunc(calls, func(o op) bool { return o.name == "Put" && o.next && o.key.Kind == fl.spends }); {
	case again.status == fl.ok && len(won) > 0 && fl.once:
		t.Errorf("%s: a second winner", what)
	case again.status == fl.ok:
		won = append(won, again)
		settled(t, won)
	case fl.once && len(won) > 0, decided:
		if again.status != http.StatusBadRequest {
			t.Errorf("%s: then a replay gets %d %.300s", what, again.status, again.body)
		}
		if len(won) == 0 {
			r.anew[lost.String()+" ("+mode+")"] = true
		}
	default:
		t.Errorf("%s: %d, and then the same request gets %d %.300s", what, a.status, again.status, again.body)
	}
	if fl.once && ask().status == fl.ok {
		t.Errorf("%s: a winner after the second request got %d", what, again.status)
	}
	if a.status == fl.ok {
		return lost, true
	}
	ask, settled = fl.prepare(r.s, address)
	fresh := ask()
	if fresh.status != fl.ok {
		t.Fatalf("%s: started anew, with a store that works: %d %.300s", what, fresh.status, fresh.body)
	}
	settled(t, []answer{fresh})
	return lost, true
}

// TestFT08_TriesCountedOnce loses the answer to two of the counts among wrong tries: the
// fifth try is still compared and the sixth is not, so each was counted once.
func TestFT08_TriesCountedOnce(t *testing.T) {
	l := &loss{counted: map[storage.Key]int64{}}
	for engine, stores := range losers(t, l) {
		onEachNode(t, stores[0])
		s := start(t, options{direct: true, store: func(storage.Store) storage.Store { return requestsOnly{stores[0], stores[1]} }})
		for _, counter := range []string{"verification", "account"} {
			// Calls of a try: the verification is read, then source, verification and account
			// count it.
			call := map[string]int{"verification": 3, "account": 4}[counter]
			for wrong, want := range map[int]int{4: http.StatusOK, 5: http.StatusBadRequest} {
				what := fmt.Sprintf("%s, %s, %d wrong tries", engine, counter, wrong)
				v := s.begin(fmt.Sprintf("%s-%d@example.com", counter, wrong))
				for n := range wrong {
					if n != 1 && n != 2 {
						s.redeem(v.wrong()).is(t, http.StatusBadRequest, "invalid_grant")
						continue
					}
					l.arm(call, false, false)
					timed(t, what, func() answer { return s.redeem(v.wrong()) }).isOutage(t, what)
					if calls, fired := l.disarm(); fired == 0 || !strings.Contains(calls[call-1].key.ID, "try/"+counter) {
						t.Fatalf("%s: %v, %d answers lost", what, calls, fired)
					}
				}
				if a := s.redeem(v); a.status != want {
					t.Errorf("%s, two of them with a lost answer; then the right code gets %d, want %d", what, a.status, want)
				}
			}
		}
		clear(l.counted)
	}
}
