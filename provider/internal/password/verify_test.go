package password_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/storage"
)

func TestVerify(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	w.set("nobody", right)
	w.verify(try(right, 0), nil)
	w.verify(try("Correct horse 1", 0), password.ErrWrong)
	w.verify(try("", 0), password.ErrWrong)

	nobody := try(right, 0)
	nobody.Subject = "" // is not the subject that happens to be called nobody
	w.verify(nobody, password.ErrWrong)

	other := try(right, 0)
	other.Subject = "bob"
	w.verify(other, password.ErrNotSet)
	if err := w.Remove(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	w.verify(try(right, 0), password.ErrNotSet)
}

// An unknown account, one without a password and a wrong password cost the same
// calls and the same hashes, within the limits; beyond them none takes a turn.
func TestTriesCostTheSame(t *testing.T) {
	const memory = 4 << 10 // KiB: enough to tell a hash from all else that takes memory
	const within = "Get password, Add counter, Add counter"
	for _, state := range []struct {
		name                  string
		perAccount, perSource int
		calls                 string
		hashes                uint64
	}{
		{"within the limits", 10, 10, within, 1},
		{"over the account's", 1, 10, within, 0},
		{"over the source's", 10, 1, "Get password, Add counter", 0},
	} {
		for _, c := range []struct {
			name   string
			change func(*password.Try)
		}{
			{"wrong password", func(*password.Try) {}},
			{"unknown account", func(t *password.Try) { t.Subject, t.Identity = "", "username nobody" }},
			{"no password", func(t *password.Try) { t.Subject, t.Identity = "bob", "bob@example.com" }},
			{"overlong password", func(t *password.Try) { t.Password = strings.Repeat("x", 1<<16) }},
			{"short password", func(t *password.Try) { t.Password = "x" }},
		} {
			w := newWorld(t, password.Config{
				Memory: memory, Iterations: 1, TriesPerAccount: state.perAccount, TriesPerSource: state.perSource,
			})
			w.set("ann", right)
			tr := try("wrong horse 1", 0)
			c.change(&tr)
			_ = w.Verify(t.Context(), tr) // takes the only try there may be
			w.calls.take()
			var err error
			hashes := (allocated(func() { err = w.Verify(t.Context(), tr) }) + memory<<9) / (memory << 10)
			if calls := w.calls.take(); err == nil || hashes != state.hashes || calls != state.calls {
				t.Errorf("%s, %s: %v, %d hashes, %s", c.name, state.name, err, hashes, calls)
			}
		}
	}
}

// Strangers have ten tries a day, and the owner's device has its own.
func TestStrangersCannotLockOut(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	w.verify(onPhone(try(right, 0)), nil)
	for n := range 30 {
		w.verify(try(fmt.Sprint("guess", n), n), password.ErrWrong)
	}
	w.verify(try(right, 100), password.ErrWrong)
	w.verify(onPhone(try(right, 101)), nil)
	w.verify(try(right, 102), password.ErrWrong) // the owner's success is not the strangers'
	w.clock.advance(24*time.Hour + time.Second)
	w.verify(try(right, 103), nil)
}

func TestBudgets(t *testing.T) {
	for _, row := range []struct {
		name  string
		limit int
		from  func(password.Try) password.Try
	}{
		{"stranger", 10, func(t password.Try) password.Try { return t }},
		{"known", 20, onPhone},
	} {
		w := newWorld(t, small())
		w.set("ann", right)
		w.verify(onPhone(try(right, 0)), nil)
		for round := range 2 { // a success begins anew
			for n := range row.limit - 1 {
				w.verify(row.from(try("wrong", round*100+n)), password.ErrWrong)
			}
			w.verify(row.from(try(right, round*100+50)), nil)
		}
		for n := range row.limit {
			w.verify(row.from(try("wrong", 200+n)), password.ErrWrong)
		}
		w.verify(row.from(try(right, 250)), password.ErrWrong)

		w.clock.advance(23 * time.Hour) // the window is not extended by tries
		w.verify(row.from(try(right, 251)), password.ErrWrong)
		w.clock.advance(time.Hour + time.Second)
		w.verify(row.from(try(right, 252)), nil)
	}
}

// A source over its limit is refused for every account, and does not use up the
// account's tries.
func TestSourceBudget(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	here := netip.MustParseAddr("2001:db8::1")
	for n := range 20 {
		tr := try("wrong", 0)
		tr.Source, tr.Identity = here, fmt.Sprint(n)
		w.verify(tr, password.ErrWrong)
	}
	for range 20 {
		tr := try(right, 0)
		tr.Source = netip.MustParseAddr("2001:db8::2") // the same subscriber
		w.verify(tr, password.ErrWrong)
	}
	w.verify(try(right, 1), nil)
	w.clock.advance(10*time.Minute + time.Second)
	again := try(right, 0)
	again.Source = here
	for range 50 { // who knows the password uses up nothing
		w.verify(again, nil)
	}
}

func TestSourceThatIsMissing(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	for n := range 21 {
		w.verify(password.Try{Identity: fmt.Sprint(n)}, password.ErrWrong)
	}
	w.verify(password.Try{Subject: "ann", Identity: ann, Password: right}, password.ErrWrong)
}

func TestDevelopmentHasMoreTriesPerSource(t *testing.T) {
	cfg := small()
	cfg.TriesPerSource, cfg.Development = 1, true
	w := newWorld(t, cfg)
	w.set("ann", right)
	for n := range 99 {
		w.verify(password.Try{Identity: fmt.Sprint(n)}, password.ErrWrong)
	}
	w.verify(password.Try{Subject: "ann", Identity: ann, Password: right}, nil)
	w.verify(password.Try{Identity: "a"}, password.ErrWrong)
	w.verify(password.Try{Subject: "ann", Identity: ann, Password: right}, password.ErrWrong)
}

// Neither the store nor the log learns who tried, from where or with what.
func TestNothingIsTold(t *testing.T) {
	var log bytes.Buffer
	cfg := small()
	cfg.Logger, cfg.TriesPerAccount = slog.New(slog.NewTextHandler(&log, nil)), 1
	w := newWorld(t, cfg)
	w.set("ann", right)
	for range 3 {
		w.verify(try("wrong horse 1", 1), password.ErrWrong)
	}
	if !strings.Contains(log.String(), "limit=account") {
		t.Errorf("the log does not say that a limit was reached: %s", &log)
	}
	keys := 0
	for _, op := range w.calls.ops {
		if op.Key.Kind != storage.Counter {
			continue
		}
		keys++
		if !strings.HasPrefix(op.Key.ID, "password/source/") && !strings.HasPrefix(op.Key.ID, "password/account/stranger/") {
			t.Errorf("counter %s", op.Key.ID)
		}
		log.WriteString(op.Key.ID)
	}
	if keys != 6 {
		t.Errorf("%d counts", keys)
	}
	for _, private := range []string{ann, "10.0.0", "horse"} {
		if strings.Contains(log.String(), private) {
			t.Errorf("%q is told: %s", private, &log)
		}
	}
}
