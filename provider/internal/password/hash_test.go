package password_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/lettergate/lettergate/provider/internal/device"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/storage"
)

// The hash says everything that argon2id needs to compute it again, and two of one
// password are different.
func TestHashIsArgon2id(t *testing.T) {
	w := newWorld(t, password.Config{Memory: 64, Iterations: 3, Parallelism: 2})
	first, second := must(w.Hash(t.Context(), right))(t), must(w.Hash(t.Context(), right))(t)
	if first == second {
		t.Error("two hashes have one salt")
	}
	head, rest, _ := strings.Cut(strings.TrimPrefix(first, "$argon2id$v=19$"), "$")
	if head != "m=64,t=3,p=2" {
		t.Errorf("parameters %q", head)
	}
	salt, key, _ := strings.Cut(rest, "$")
	raw := must(base64.RawStdEncoding.DecodeString(salt))(t)
	if len(raw) != 16 {
		t.Errorf("a salt of %d bytes", len(raw))
	}
	if want := base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(right), raw, 3, 64, 2, 32)); key != want {
		t.Errorf("key %s; want %s", key, want)
	}
}

// Hashes that another implementation has made are understood (OpenSSL's argon2id,
// by way of Python's cryptography 48).
func TestHashOfAnotherImplementation(t *testing.T) {
	for _, row := range []struct{ password, hash string }{
		{"correct horse 1", "$argon2id$v=19$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$hu/AftPbq5tm4+wUFFOcCNomq1tIpPE1Qhq+VrMVrww"},
		{"pässwörd 1", "$argon2id$v=19$m=128,t=3,p=2$AAECAwQFBgcICQoLDA0ODw$fqznyoSrFZADaaORoxbQK3AtNB0oMs4juarkiPBJQgg"},
	} {
		w := newWorld(t, small())
		if err := w.Set(t.Context(), "ann", row.hash, time.Time{}); err != nil {
			t.Fatal(err)
		}
		w.verify(try(row.password+"x", 0), password.ErrWrong)
		w.verify(try(row.password, 0), nil)
	}
}

// The default is what OWASP asks for as the least.
func TestDefaultCost(t *testing.T) {
	w := newWorld(t, password.Config{})
	if hash := must(w.Hash(t.Context(), right))(t); !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Error(hash)
	}
}

// One password typed in two ways of Unicode is one password.
func TestPasswordIsNormalised(t *testing.T) {
	w := newWorld(t, small())
	composed, decomposed := "pa\u00dfw\u00f6rter 1", "pa\u00dfwo\u0308rter 1"
	w.set("ann", decomposed)
	w.verify(try(composed, 0), nil)
	w.set("ann", composed)
	w.verify(try(decomposed, 0), nil)
}

func TestRule(t *testing.T) {
	long := strings.Repeat("a", 31)
	for _, row := range []struct {
		name, password string
		any            bool
		ok             bool
	}{
		{"least", "abcdefg1", false, true},
		{"too short", "abcdef1", false, false},
		{"most", long + "1", false, true},
		{"too long", long + "a1", false, false},
		{"characters, not bytes", strings.Repeat("密", 31) + "1", false, true},
		{"short in characters", "密密密密密密1", false, false},
		{"counted as composed", strings.Repeat("o\u0308", 31) + "1", false, true},
		{"short as composed", "o\u0308o\u0308o\u0308o\u03081", false, false},
		{"no digit", "abcdefgh", false, false},
		{"no letter", "12345678", false, false},
		{"no letter but a sign", "1234567!", false, false},
		{"neither is asked for", "!!!!!!!!", true, true},
		{"too short for any", "!!!!!!!", true, false},
		{"space", "abc def 1", false, true},
		{"line break", "abcdefg\n1", true, false},
		{"NUL", "abcdefg\x001", true, false},
		{"delete", "abcdefg\x7f1", true, false},
		{"C1 control", "abcdefg\u00851", true, false},
		{"not UTF-8", "abcdefg\xff1", true, false},
		{"empty", "", true, false},
		{"many bytes, few characters", "a1234567" + strings.Repeat("\u0308", 600), true, false},
	} {
		cfg := small()
		cfg.AnyCharacters = row.any
		w := newWorld(t, cfg)
		if err := w.Check(row.password); (err == nil) != row.ok || err != nil && !errors.Is(err, password.ErrRule) {
			t.Errorf("%s: Check = %v", row.name, err)
		}
		if _, err := w.Hash(t.Context(), row.password); errors.Is(err, password.ErrRule) == row.ok {
			t.Errorf("%s: Hash = %v", row.name, err)
		}
	}
}

func TestRuleIsTold(t *testing.T) {
	if got, want := newWorld(t, small()).Rule(), (password.Rule{Min: 8, Max: 32, LettersAndDigits: true}); got != want {
		t.Errorf("%+v; want %+v", got, want)
	}
	cfg := password.Config{Memory: 8, MinLength: 12, MaxLength: 100, AnyCharacters: true}
	if got, want := newWorld(t, cfg).Rule(), (password.Rule{Min: 12, Max: 100}); got != want {
		t.Errorf("%+v; want %+v", got, want)
	}
}

// A rule that gets stricter locks nobody out.
func TestStricterRule(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", "abcdefg1")
	cfg := small()
	cfg.MinLength = 16
	w.Service = w.service(cfg)
	w.verify(try("abcdefg1", 0), nil)
}

// What is longer than anything that can be kept is wrong, even where its beginning
// is right.
func TestOverlongInput(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	long := right + strings.Repeat("x", 4<<20)
	if spent := allocated(func() { w.verify(try(long, 0), password.ErrWrong) }); spent > 1<<20 {
		t.Errorf("%d bytes were taken for an input of %d", spent, len(long))
	}
	cut := argon2.IDKey([]byte(strings.Repeat("x", 1024)), make([]byte, 16), 1, 8, 1, 32)
	hash := "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + base64.RawStdEncoding.EncodeToString(cut)
	if err := w.Set(t.Context(), "ann", hash, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.verify(try(strings.Repeat("x", 1025), 0), password.ErrWrong)
}

// What could not be typed again whole is not taken in the first place, though
// composed it would be short enough.
func TestOverlongInputIsNotChosen(t *testing.T) {
	cfg := small()
	cfg.MaxLength, cfg.AnyCharacters = 256, true
	w := newWorld(t, cfg)
	const letter = "e\u0302\u0301" // 5 bytes, of which normalising makes one character
	if err := w.Check(strings.Repeat(letter, 204)); err != nil {
		t.Error(err)
	}
	if err := w.Check(strings.Repeat(letter, 205)); !errors.Is(err, password.ErrRule) {
		t.Errorf("Check = %v", err)
	}
}

// A password that was never hashed is not kept, whatever calls itself a hash.
func TestSetWantsAHash(t *testing.T) {
	w := newWorld(t, small())
	for _, s := range []string{"", right, "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"} {
		err := w.Set(t.Context(), "ann", s, time.Time{})
		if err == nil || s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("Set(%q) = %v", s, err)
		}
	}
	if !w.stored("ann").IsZero() {
		t.Error("something was stored")
	}
}

// A damaged or planted record is an error and takes neither memory nor time.
func TestHostileRecord(t *testing.T) {
	const salt, key = "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	w := newWorld(t, small())
	for _, head := range []string{
		"m=4294967295,t=1,p=1", "m=262145,t=1,p=1", "m=8,t=4294967295,p=1", "m=8,t=17,p=1", "m=4096,t=1,p=255", "m=4096,t=1,p=17",
		"m=8,t=0,p=1", "m=8,t=1,p=0", "m=7,t=1,p=1", "m=15,t=1,p=2", "m=8,t=1,p=256", "m=4294967304,t=1,p=1",
	} {
		w.plant("ann", fmt.Sprintf(`{"v":1,"hash":"$argon2id$v=19$%s$%s$%s","changed":0}`, head, salt, key))
		var err error
		spent := allocated(func() { err = w.Verify(t.Context(), try(right, 0)) })
		if !errors.Is(err, storage.ErrCorrupt) || strings.Contains(err.Error(), salt) || spent > 1<<20 {
			t.Errorf("%s: %v, with %d bytes", head, err, spent)
		}
		if _, _, err := w.Changed(t.Context(), "ann"); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: Changed = %v", head, err)
		}
	}
	w.plant("ann", `{"v":2}`)
	if err := w.Verify(t.Context(), try(right, 0)); !errors.Is(err, storage.ErrUnfit) {
		t.Errorf("a later version: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t, small())
	deps := password.Deps{Store: w.store, Secrets: w.ring}
	if _, err := password.New(small(), deps); err == nil {
		t.Error("no devices")
	}
	deps.Devices = must(device.New(device.Config{Store: w.store, Secrets: w.ring}))(t)
	for _, cfg := range []password.Config{
		{MinLength: 33}, {MaxLength: 257}, {Memory: 262145}, {Memory: 7}, {Memory: 31, Parallelism: 4}, {Iterations: 17}, {Memory: 4096, Parallelism: 17},
	} {
		if _, err := password.New(cfg, deps); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
