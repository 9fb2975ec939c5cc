package verification_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
	"github.com/lettergate/lettergate/provider/users"
)

// onStores runs f on the store as it is and on the weakest one.
func onStores(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("store", func(t *testing.T) { f(t, newWorld(t, setup{})) })
	t.Run("weakest store", func(t *testing.T) { f(t, newWorld(t, setup{wrap: storetest.Weakest})) })
}

func TestSignUpAndIn(t *testing.T) {
	onStores(t, func(t *testing.T, w *world) {
		s := w.start("Ann@Example.com", func(r *verification.Request) {
			r.Scopes, r.State = []string{"openid", "email"}, []byte("door")
		})
		if len(s.Code) != 6 || s.ExpiresIn != 10*time.Minute || s.Interval != 30*time.Second {
			t.Errorf("started %+v with code of %d digits", s.Started, len(s.Code))
		}
		p := w.wins(s.try())
		if !p.New || p.User.Email != "Ann@example.com" || !p.User.EmailVerified || p.ID != s.ID ||
			!p.At.Equal(w.clock.Now()) || string(p.State) != "door" || !slices.Equal(p.Scopes, []string{"openid", "email"}) {
			t.Errorf("the first proof is %+v", p)
		}
		if kept := must(w.users.BySubject(t.Context(), p.User.Subject))(t); kept.Email != p.User.Email {
			t.Errorf("the account is %+v", kept)
		}
		again := w.wins(w.start("ann@example.COM").try())
		if again.New || again.User.Subject != p.User.Subject {
			t.Errorf("signed in as %+v, new %t", again.User, again.New)
		}
	})
}

func TestNoSignUp(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com")
	try := s.try()
	try.AllowSignUp = false
	w.refused(try)
	if _, err := w.users.ByEmail(t.Context(), "ann@example.com"); !errors.Is(err, users.ErrNotFound) {
		t.Errorf("ByEmail: %v", err)
	}
}

func TestDisabledAccount(t *testing.T) {
	w := newWorld(t, setup{})
	u := w.wins(w.start("ann@example.com").try()).User
	u.Disabled = true
	must(w.users.Update(t.Context(), u))(t)
	w.refused(w.start("ann@example.com").try())
}

// Five guesses, and then not even the right code.
func TestEC01(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com")
	for i := range 4 {
		w.refused(wrong(s.try(), i))
	}
	w.wins(s.try())

	s = w.start("ann@example.com")
	for i := range 5 {
		w.refused(wrong(s.try(), i))
	}
	w.refused(s.try())
}

// A hundred tries at once have no more comparisons than a hundred in a row: the
// right code among them is rarely one of the five that are compared.
func TestEC02(t *testing.T) {
	w := newWorld(t, setup{})
	const rounds, parallel = 20, 100
	won := 0
	for round := range rounds {
		s := w.start(fmt.Sprintf("user%d@example.com", round))
		lucky := rand.IntN(parallel)
		won += race(t, parallel, func(i int) error {
			try := anywhere(s.try(), i)
			if i != lucky {
				try = wrong(try, i)
			}
			_, err := w.Redeem(t.Context(), try)
			return err
		})
	}
	// Each round is won with a chance of 5 in 100; eight of twenty would be one in
	// a million, and without the limit all are won.
	if won >= 8 {
		t.Errorf("%d of %d rounds found the right code", won, rounds)
	}
}

// race calls f from n goroutines at once and returns how many got nil, at most
// one. Everybody else must have got ErrInvalid or, when the store lost their
// reply, have been told so.
func race(t *testing.T, n int, f func(i int) error) (won int) {
	t.Helper()
	var wg sync.WaitGroup
	var winners atomic.Int64
	barrier := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-barrier
			switch err := f(i); {
			case err == nil:
				winners.Add(1)
			case !errors.Is(err, verification.ErrInvalid) && !errors.Is(err, storage.ErrUnavailable):
				t.Error(err)
			}
		})
	}
	close(barrier)
	wg.Wait()
	if winners.Load() > 1 {
		t.Errorf("%d winners", winners.Load())
	}
	return int(winners.Load())
}

// A code is accepted once, in a row and at once.
func TestEC04(t *testing.T) {
	onStores(t, func(t *testing.T, w *world) {
		s := w.start("ann@example.com")
		w.wins(s.try())
		w.refused(s.try())
		for round := range 10 {
			s := w.start(fmt.Sprintf("user%d@example.com", round))
			if won := race(t, 100, func(i int) error {
				_, err := w.Redeem(t.Context(), anywhere(s.try(), 1000*round+i))
				return err
			}); won != 1 {
				t.Fatalf("round %d had %d winners", round, won)
			}
		}
	})
}

// A right code that comes second has guessed nothing and costs no try.
func TestSecondIsRefunded(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com")
	w.wins(s.try())
	for i := range 20 {
		w.refused(anywhere(s.try(), i))
	}
	if won := race(t, 5, func(i int) error {
		_, err := w.Redeem(t.Context(), anywhere(s.try(), 100+i))
		return err
	}); won != 0 {
		t.Error("a spent code won a race")
	}
	// The account has its ten wrong tries still: nine, and then the right one.
	for n := range 3 {
		s := w.start("ann@example.com")
		for i := range 3 {
			w.refused(anywhere(wrong(s.try(), i), 1000+10*n+i))
		}
	}
	w.wins(anywhere(w.start("ann@example.com").try(), 2000))
}

// A right code that met a resend was not beaten by another redeemer.
func TestRedeemMeetsResend(t *testing.T) {
	var w *world
	var once sync.Once
	var resend func()
	w = newWorld(t, setup{cfg: verification.Config{Development: true}, wrap: func(s storage.Store) storage.Store {
		return storetest.Faulty(s, func(op storetest.Op) error {
			if op.Name == "Add" && strings.Contains(op.Key.ID, "try/account/") {
				once.Do(resend) // after the Get, before the Put
			}
			return nil
		})
	}})
	s := w.start("ann@example.com", inBrowser)
	resent := false
	other := w.beside(w.store)
	resend = func() {
		if _, err := other.Resend(t.Context(), s.ID, browser, home); err != nil {
			t.Error(err)
		}
		resent = true
	}
	w.wins(s.page())
	if !resent {
		t.Fatal("nothing was sent again")
	}
	w.refused(s.page())
}

// Neither a resend nor a new verification, of whatever spelling or client, gives
// more guesses. Only a success does, or the end of the day.
func TestEC05EC06(t *testing.T) {
	w := newWorld(t, setup{cfg: verification.Config{Development: true}})
	s := w.start("ann@example.com", inBrowser)
	for i := range 4 {
		w.refused(wrong(s.page(), i))
	}
	ticket := must(w.Resend(t.Context(), s.ID, browser, home))(t)
	w.out.Dispatch(ticket)
	if again := w.code("ann@example.com"); again != s.Code {
		t.Fatalf("another code was sent")
	}
	w.refused(wrong(s.page(), 4))
	w.refused(s.page()) // five in this verification

	s = w.start("ANN@example.com")
	for i := range 3 {
		w.refused(wrong(s.try(), i))
	}
	s = w.start("Ann@EXAMPLE.com", func(r *verification.Request) { r.ClientID = "other" })
	other := s.try()
	other.ClientID = "other"
	w.refused(wrong(other, 0))
	w.refused(wrong(other, 1)) // ten for the account
	w.refused(other)
	w.refused(w.start("ann@example.com").try())

	w.wins(w.start("bob@example.com").try()) // EC-07: somebody else's success
	w.refused(w.start("ann@example.com").try())

	w.clock.advance(24 * time.Hour)
	w.wins(w.start("ann@example.com").try())
}

func TestSuccessClearsTheAccount(t *testing.T) {
	w := newWorld(t, setup{cfg: verification.Config{Development: true}})
	for range 3 { // 12 wrong tries
		s := w.start("ann@example.com")
		for i := range 4 {
			w.refused(wrong(s.try(), i))
		}
		w.wins(s.try())
	}
}

// A source that is over its limit touches neither verification nor account.
func TestSourceLimit(t *testing.T) {
	for _, tc := range []struct{ name, attacker, neighbour, victim string }{
		{"v4", "198.51.100.7", "::ffff:198.51.100.7", "198.51.100.8"},
		{"v6", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"},
		{"no address", "", "", "192.0.2.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := func(s string) netip.Addr { a, _ := netip.ParseAddr(s); return a }
			w := newWorld(t, setup{cfg: verification.Config{TriesPerAccount: 22, TriesPerVerification: 22}})
			s := w.start("ann@example.com")
			try := s.try()
			for i := range 40 {
				try.Source = addr(tc.attacker)
				if i%2 == 1 {
					try.Source = addr(tc.neighbour)
				}
				w.refused(wrong(try, i))
			}
			w.refused(try)
			try.Source = addr(tc.victim)
			w.refused(wrong(try, 50)) // the 21st that reaches the verification
			w.wins(try)

			s = w.start("ann@example.com")
			try = s.try()
			try.Source = addr(tc.attacker)
			w.refused(try)
			w.clock.advance(11 * time.Minute)
			try = w.start("ann@example.com").try()
			try.Source = addr(tc.attacker)
			w.wins(try)
		})
	}
}

// Right codes cost a source nothing, and neither do the mails that brought them.
func TestSourceIsRefunded(t *testing.T) {
	w := newWorld(t, setup{})
	for i := range 25 {
		w.wins(w.start(fmt.Sprintf("user%d@example.com", i), from(home)).try())
	}
}

func TestEC12(t *testing.T) {
	w := newWorld(t, setup{})
	one, two := w.start("ann@example.com"), w.start("ann@example.com")
	try := one.try()
	try.Code = two.Code
	if one.Code != two.Code {
		w.refused(try)
	}
	w.wins(two.try())
	w.wins(one.try())
}

func TestEC13(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com")
	try := s.try()
	try.ClientID = "other"
	w.refused(try)
	try.ClientID = ""
	w.refused(try)
	w.wins(s.try())
}

// The wrong browser gets the answer of a wrong code, and pays for it.
func TestEC14(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com", inBrowser)
	for name, change := range map[string]func(*verification.Try){
		"another browser":     func(t *verification.Try) { t.Browser = []byte("another browser's secret.......!") },
		"no browser":          func(t *verification.Try) { t.Browser = nil },
		"by handle, no proof": func(t *verification.Try) { t.ID, t.Handle, t.Browser = "", s.Handle, nil },
	} {
		try := s.page()
		change(&try)
		if _, err := w.Redeem(t.Context(), try); !errors.Is(err, verification.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.refused(wrong(s.page(), 0))
	w.refused(wrong(s.page(), 1))
	w.refused(s.page()) // five are used up
}

// A page does not sign its browser in by a verification that was started outside.
func TestPageNeedsItsBrowser(t *testing.T) {
	w := newWorld(t, setup{})
	w.refused(w.start("ann@example.com").page())
	s := w.start("bob@example.com", func(r *verification.Request) { r.Challenge = challenge(verifier) })
	try := s.page()
	try.Verifier = verifier
	w.refused(try)
	try = s.try() // an id alone, as a log may hold it
	try.ID, try.Handle, try.Verifier = s.ID, "", verifier
	w.refused(try)
	try.ID, try.Handle = "", s.Handle
	w.wins(try)
}

func TestPKCE(t *testing.T) {
	w := newWorld(t, setup{cfg: verification.Config{TriesPerVerification: 100, TriesPerAccount: 100}})
	s := w.start("ann@example.com", func(r *verification.Request) { r.Challenge = challenge(verifier) })
	for name, v := range map[string]string{
		"none":          "",
		"another":       strings.Repeat("a", 43),
		"the challenge": challenge(verifier),
		"42 characters": verifier[:42],
		"and a space":   verifier + " ",
	} {
		try := s.try()
		try.Verifier = v
		if _, err := w.Redeem(t.Context(), try); !errors.Is(err, verification.ErrInvalid) {
			t.Errorf("verifier %s: %v", name, err)
		}
	}
	// What is no verifier is refused also where its hash is the challenge.
	for name, v := range map[string]string{
		"short": "short", "129": strings.Repeat("a", 129), "plus": strings.Repeat("a", 42) + "+", "NUL": strings.Repeat("a", 43) + "\x00",
	} {
		s := w.start("bob@example.com", func(r *verification.Request) { r.Challenge = challenge(v) })
		try := s.try()
		try.Verifier = v
		if _, err := w.Redeem(t.Context(), try); !errors.Is(err, verification.ErrInvalid) {
			t.Errorf("malformed verifier %s: %v", name, err)
		}
	}
	try := s.try()
	try.Verifier = verifier
	w.wins(try)

	try = w.start("ann@example.com").try()
	try.Verifier = verifier // without a challenge
	w.refused(try)
}

// A wrong verifier is a try: neither it nor the code can be guessed for free.
func TestPKCECounts(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com", func(r *verification.Request) { r.Challenge = challenge(verifier) })
	for range 5 {
		w.refused(s.try())
	}
	try := s.try()
	try.Verifier = verifier
	w.refused(try)
}

func TestScopes(t *testing.T) {
	w := newWorld(t, setup{})
	scoped := func(r *verification.Request) { r.Scopes = []string{"openid", "email", "notes"} }
	s := w.start("ann@example.com", scoped)
	try := s.try()
	try.Scopes = []string{"notes", "admin"}
	for range 10 { // none is counted
		w.fails(try, verification.ErrScope)
	}
	elsewhere := try
	elsewhere.ClientID = "other"
	w.refused(elsewhere) // who is not meant is not told what the scopes are
	try.Scopes = []string{"notes", "openid", "notes"}
	if p := w.wins(try); !slices.Equal(p.Scopes, []string{"notes", "openid"}) {
		t.Errorf("granted %q", p.Scopes)
	}
	if p := w.wins(w.start("ann@example.com", scoped).try()); len(p.Scopes) != 3 {
		t.Errorf("granted %q of three", p.Scopes)
	}
}

// What cannot be a code is refused, forgiven nothing, and not counted.
func TestEC45(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com")
	c := s.Code
	for _, code := range []string{
		"", c[:5], c + "0", " " + c, c + " ", c[:3] + " " + c[3:], c[:3] + "\u00a0" + c[3:],
		"+" + c[1:], "abcdef", "１２３４５６", "\x00" + c, c + "\x00", strings.Repeat("1", 1<<16), "-12345", "0x1234",
	} {
		try := s.try()
		try.Code = code
		w.refused(try)
	}
	w.wins(s.try())
}

func TestExpiry(t *testing.T) {
	w := newWorld(t, setup{})
	late, last := w.start("ann@example.com"), w.start("bob@example.com")
	w.clock.advance(10*time.Minute - time.Millisecond)
	w.wins(last.try())
	w.clock.advance(time.Millisecond)
	w.refused(late.try())
}

// Our clock decides, also when the store has not noticed.
func TestOurClockDecides(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com", inBrowser)
	later := w.beside(w.store)
	later.clock = &clock{t: w.clock.Now().Add(10 * time.Minute)}
	later.Service = later.newService(w.store)
	later.refused(s.page())
	if _, err := later.Load(t.Context(), s.ID, browser); !errors.Is(err, verification.ErrNotFound) {
		t.Errorf("Load: %v", err)
	}
	if _, err := later.Resend(t.Context(), s.ID, browser, home); !errors.Is(err, verification.ErrNotFound) {
		t.Errorf("Resend: %v", err)
	}
	w.wins(s.page())
}

func TestUnknownHandle(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com")
	foreign := newRing(t, secret("b")).Handle("verification", make([]byte, 16))
	absent := w.ring.Handle("verification", make([]byte, 16))
	for _, h := range []string{"", "x", s.ID, s.Handle + "A", s.Handle[:len(s.Handle)-1], foreign, absent,
		w.ring.Handle("verification", []byte("short")), w.ring.Handle("session", make([]byte, 16))} {
		try := s.try()
		try.Handle = h
		w.refused(try)
	}
	for _, id := range []string{"x", strings.Repeat("A", 22), s.ID + "=", s.ID + "\n", strings.Repeat("x", 5000)} {
		try := s.page()
		try.ID = id
		w.refused(try)
	}
	w.wins(s.try())
}

// Codes and handles live through a change of the deployment's secret.
func TestEC43(t *testing.T) {
	w := newWorld(t, setup{})
	s, lost := w.start("ann@example.com"), w.start("bob@example.com")
	w.ring = newRing(t, secret("b"), secret("a"))
	w.Service = w.newService(w.store)
	w.wins(s.try())
	w.ring = newRing(t, secret("b"))
	w.Service = w.newService(w.store)
	w.refused(lost.try())
}

// Ten people with the same new address make one account.
func TestOneAccountPerAddress(t *testing.T) {
	onStores(t, func(t *testing.T, w *world) {
		var all []started
		for range 10 {
			all = append(all, w.start("ann@example.com"))
		}
		proofs := make([]verification.Proof, len(all))
		var wg sync.WaitGroup
		for i, s := range all {
			wg.Go(func() {
				p, err := w.Redeem(t.Context(), s.try())
				if err != nil && !errors.Is(err, storage.ErrUnavailable) {
					t.Error(err)
				}
				proofs[i] = p
			})
		}
		wg.Wait()
		made := 0
		for _, p := range proofs {
			if p.New {
				made++
			}
			if p.User.Subject != "" && p.User.Subject != proofs[0].User.Subject && proofs[0].User.Subject != "" {
				t.Error("two accounts for one address")
			}
		}
		if made > 1 {
			t.Errorf("%d accounts made", made)
		}
	})
}

// overtaken is a directory where somebody signs up just after one has looked.
type overtaken struct {
	users.Directory
	once *sync.Once
}

func (o overtaken) ByEmail(ctx context.Context, key string) (users.User, error) {
	u, err := o.Directory.ByEmail(ctx, key)
	o.once.Do(func() {
		if _, err := o.Create(ctx, users.User{Subject: "faster", Email: key, EmailKey: key}); err != nil {
			panic(err)
		}
	})
	return u, err
}

func TestOvertakenSignUp(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com")
	w.users = overtaken{w.users, new(sync.Once)}
	w.Service = w.newService(w.store)
	if p := w.wins(s.try()); p.New || p.User.Subject != "faster" {
		t.Errorf("signed in as %+v, new %t", p.User, p.New)
	}
}

func FuzzRedeem(f *testing.F) {
	f.Add("handle", "id", "123456", verifier)
	f.Add("", "", "", "")
	f.Fuzz(func(t *testing.T, handle, id, code, verifier string) {
		w := newWorld(t, setup{})
		try := verification.Try{Handle: handle, ID: id, Code: code, Verifier: verifier, ClientID: client}
		w.refused(try)
	})
}
