package secrets_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/lettergate/lettergate/provider/internal/secrets"
)

// The three secrets of these tests. Each value is recognisable in any print.
var (
	secretA = secrets.Secret{ID: "a", Value: []byte(strings.Repeat("AAsecretAA", 4))}
	secretB = secrets.Secret{ID: "b", Value: []byte(strings.Repeat("BBsecretBB", 4))}
)

func ring(t testing.TB, list ...secrets.Secret) *secrets.Ring {
	t.Helper()
	r, err := secrets.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewRefuses(t *testing.T) {
	long := bytes.Repeat([]byte("x"), secrets.MinBytes)
	for name, list := range map[string][]secrets.Secret{
		"nothing":      nil,
		"no id":        {{Value: long}},
		"short":        {{ID: "a", Value: long[1:]}},
		"the id twice": {{ID: "a", Value: long}, {ID: "a", Value: bytes.Repeat([]byte("y"), 40)}},
	} {
		if _, err := secrets.New(list); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "xxxx") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

func TestHandle(t *testing.T) {
	r := ring(t, secretA)
	for _, payload := range [][]byte{nil, {0}, []byte("grant-1"), bytes.Repeat([]byte{0xff}, 500)} {
		h := r.Handle("refresh", payload)
		got, kid, err := r.ParseHandle("refresh", h)
		if err != nil || kid != "a" || !bytes.Equal(got, payload) {
			t.Errorf("payload of %d bytes: %x, %q, %v", len(payload), got, kid, err)
		}
		if again := r.Handle("refresh", payload); again != h {
			t.Errorf("payload of %d bytes: said twice, two handles", len(payload))
		}
		if _, _, err := r.ParseHandle("access", h); !errors.Is(err, secrets.ErrInvalid) {
			t.Errorf("accepted for another purpose: %v", err)
		}
	}
}

// Every change of one character, every shortening and every foreign spelling of
// a handle is refused.
func TestHandleHasOneSpelling(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	r := ring(t, secretA)
	for n := range 3 { // the three remainders of base64
		h := r.Handle("refresh", []byte("grant")[:3+n])
		for i := range h {
			for _, c := range []byte(alphabet + "+/=\n\r\x00 %") {
				if h[i] == c {
					continue
				}
				refuse(t, r, h[:i]+string(c)+h[i+1:])
				refuse(t, r, h[:i]+string(c)+h[i:])
			}
			refuse(t, r, h[:i])
			refuse(t, r, h[i+1:])
		}
		refuse(t, r, h+"=")
		refuse(t, r, h+"==")
		refuse(t, r, h+"A")
	}
}

func refuse(t *testing.T, r *secrets.Ring, s string) {
	t.Helper()
	if _, _, err := r.ParseHandle("refresh", s); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("ParseHandle(%q): %v", s, err)
	}
}

func TestMACFramesItsParts(t *testing.T) {
	r := ring(t, secretA)
	mac := func(parts ...string) string {
		in := make([][]byte, len(parts))
		for i, p := range parts {
			in[i] = []byte(p)
		}
		m, err := r.MAC("a", "code", in...)
		if err != nil {
			t.Fatal(err)
		}
		return string(m)
	}
	seen := map[string]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"abc"}, {"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}} {
		m := mac(parts...)
		if other, dup := seen[m]; dup {
			t.Errorf("%q and %s have one MAC", parts, other)
		}
		seen[m] = fmt.Sprintf("%q", parts)
	}
	if _, err := r.MAC("z", "code"); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("unknown secret id: %v", err)
	}
}

func TestSeal(t *testing.T) {
	r := ring(t, secretA)
	plain, context := []byte("a private key"), []byte("set")
	sealed := r.Seal("keys", plain, context)
	if got, err := r.Open("keys", sealed, context); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open: %q, %v", got, err)
	}
	if bytes.Equal(sealed, r.Seal("keys", plain, context)) {
		t.Error("two seals are equal")
	}
	if bytes.Contains(sealed, plain[:6]) {
		t.Error("the sealed value shows the plaintext")
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		if _, err := r.Open("keys", damaged, context); !errors.Is(err, secrets.ErrInvalid) {
			t.Errorf("byte %d damaged: %v", i, err)
		}
		if _, err := r.Open("keys", sealed[:i], context); !errors.Is(err, secrets.ErrInvalid) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := r.Open("keys", sealed, []byte("other")); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("another context: %v", err)
	}
	if _, err := r.Open("cookie", sealed, context); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("another purpose: %v", err)
	}
}

// EC-43, FT-30: what was made before a change of secrets keeps working while the
// old secret is listed, new values use the new one, and afterwards the old ones
// are refused.
func TestRotation(t *testing.T) {
	before, during, after := ring(t, secretA), ring(t, secretB, secretA), ring(t, secretB)

	handle := before.Handle("refresh", []byte("g1"))
	sealed := before.SealString("form", []byte("state"), nil)
	code, err := before.Digits(before.Current(), "code", 6, []byte("v1"))
	if err != nil {
		t.Fatal(err)
	}

	payload, kid, err := during.ParseHandle("refresh", handle)
	if err != nil || kid != "a" || string(payload) != "g1" {
		t.Errorf("ParseHandle during the change: %q, %q, %v", payload, kid, err)
	}
	if again, err := during.HandleUnder("a", "refresh", []byte("g1")); err != nil || again != handle {
		t.Errorf("HandleUnder does not say the old handle again: %v", err)
	}
	if got, err := during.OpenString("form", sealed, nil); err != nil || string(got) != "state" {
		t.Errorf("OpenString during the change: %q, %v", got, err)
	}
	if again, err := during.Digits("a", "code", 6, []byte("v1")); err != nil || again != code {
		t.Errorf("Digits does not say the old code again: %v", err)
	}
	if before.Pseudonym("counter", "x") != during.Pseudonym("counter", "x") {
		t.Error("adding a secret renamed the counters")
	}

	if during.Current() != "b" || !during.Has("a") || after.Has("a") {
		t.Error("Current or Has is wrong")
	}
	if _, kid, err := after.ParseHandle("refresh", during.Handle("refresh", []byte("g2"))); err != nil || kid != "b" {
		t.Errorf("a handle made during the change: %q, %v", kid, err)
	}
	if _, _, err := after.ParseHandle("refresh", handle); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("ParseHandle after the change: %v", err)
	}
	if _, err := after.OpenString("form", sealed, nil); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("OpenString after the change: %v", err)
	}
	if _, err := after.Digits("a", "code", 6, []byte("v1")); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("Digits after the change: %v", err)
	}
	if _, err := after.HandleUnder("a", "refresh", nil); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("HandleUnder after the change: %v", err)
	}
}

// Two secrets, purposes or uses never share a key, also when they are asked for
// in turn and thousands of purposes have passed through the cache.
func TestPurposesStayApart(t *testing.T) {
	r := ring(t, secretB, secretA)
	first := map[string]secrets.Purpose{}
	for round := range 2 {
		for i := range 1000 {
			p := secrets.Purpose(fmt.Sprint("p", i))
			h := r.Handle(p, []byte("x"))
			if round == 0 {
				if other, dup := first[h]; dup {
					t.Fatalf("%s and %s share a key", p, other)
				}
				first[h] = p
			} else if first[h] != p {
				t.Fatalf("%s changed its key", p)
			}
		}
	}
	a, _ := r.MAC("a", "p", nil)
	b, _ := r.MAC("b", "p", nil)
	if bytes.Equal(a, b) {
		t.Error("two secrets share a key")
	}
}

func TestConcurrentUse(t *testing.T) {
	shared := ring(t, secretA)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			own := ring(t, secretA)
			for i := range 400 {
				p := secrets.Purpose(fmt.Sprint("p", i))
				if shared.Handle(p, []byte("x")) != own.Handle(p, []byte("x")) {
					t.Errorf("%s: another key under load", p)
				}
				if _, err := shared.Open(p, own.Seal(p, []byte("x"), nil), nil); err != nil {
					t.Errorf("%s: %v", p, err)
				}
			}
		})
	}
	wg.Wait()
}

// Digits is uniform in each position and as a whole: chi-square over 100,000
// codes. The bounds are the 1-10^-6 quantiles; the codes are derived from fixed
// inputs, so the test gives one answer for ever.
func TestDigitsAreUniform(t *testing.T) {
	const codes, n = 100_000, 6
	r := ring(t, secretA)
	var position [n][10]int
	var hundreds [100]int
	for i := range codes {
		code, err := r.Digits("a", "code", n, fmt.Append(nil, i))
		if err != nil || len(code) != n {
			t.Fatalf("%q, %v", code, err)
		}
		for p := range n {
			position[p][code[p]-'0']++
		}
		hundreds[int(code[0]-'0')*10+int(code[5]-'0')]++
	}
	for p := range position {
		if x := chiSquare(position[p][:], codes); x > 44.8 { // 9 degrees of freedom
			t.Errorf("position %d: chi-square %.1f", p, x)
		}
	}
	if x := chiSquare(hundreds[:], codes); x > 175 { // 99 degrees of freedom
		t.Errorf("first and last digit: chi-square %.1f", x)
	}
}

func chiSquare(counts []int, total int) float64 {
	want := float64(total) / float64(len(counts))
	var x float64
	for _, c := range counts {
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return x
}

func TestDigitsLength(t *testing.T) {
	r := ring(t, secretA)
	for n := 1; n <= 18; n++ {
		if code, err := r.Digits("a", "code", n, []byte("v")); err != nil || len(code) != n {
			t.Errorf("%d digits: %q, %v", n, code, err)
		}
	}
	for _, n := range []int{-1, 0, 19} {
		if code, err := r.Digits("a", "code", n); err == nil {
			t.Errorf("%d digits: %q", n, code)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	r := ring(t, secretA, secretB)
	r.Handle("p", nil)
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb, secretA)
		fmt.Fprintf(&out, verb, &secretA)
		fmt.Fprintf(&out, verb, []secrets.Secret{secretA})
		fmt.Fprintf(&out, verb, r)
		fmt.Fprintf(&out, verb, struct{ R *secrets.Ring }{r})
	}
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "secret", secretA, "list", []secrets.Secret{secretA}, "ring", r)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secretA, "list", []secrets.Secret{secretA}, "ring", r)
	j, err := json.Marshal(secretA)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	for _, s := range []string{"AAsecret", fmt.Sprintf("%x", "AAsecret"), fmt.Sprintf("%X", "AAsecret"), "65 65 115",
		base64.StdEncoding.EncodeToString([]byte("AAsecr"))} {
		if strings.Contains(out.String(), s) {
			t.Errorf("printed as %q", s)
		}
	}
}

func TestNewIDIsFresh(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := secrets.NewID()
		if len(id) != 22 || seen[id] {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
}

// Only the strings that Handle returns are accepted: whatever is accepted is what
// Handle says for the payload that came out.
func FuzzParseHandle(f *testing.F) {
	r := ring(f, secretB, secretA)
	f.Add(r.Handle("p", nil))
	f.Add(r.Handle("p", []byte("payload")))
	f.Add(r.Handle("q", []byte("payload")))
	f.Add("")
	f.Add(strings.Repeat("A", 48))
	f.Add("\n" + r.Handle("p", []byte("x")))
	f.Fuzz(func(t *testing.T, s string) {
		payload, kid, err := r.ParseHandle("p", s)
		if err != nil {
			if !errors.Is(err, secrets.ErrInvalid) || payload != nil || kid != "" {
				t.Fatalf("%x, %q, %v", payload, kid, err)
			}
			return
		}
		if own, err := r.HandleUnder(kid, "p", payload); err != nil || own != s {
			t.Fatalf("accepted %q, which is spelled %q (%v)", s, own, err)
		}
	})
}

// A sealed string that opens has the one spelling of its bytes, and a change of
// any seed no longer opens.
func FuzzOpenString(f *testing.F) {
	r := ring(f, secretB, secretA)
	seeds := map[string]bool{}
	for _, plain := range []string{"", "x", "xy", "xyz"} {
		s := r.SealString("p", []byte(plain), []byte("ctx"))
		seeds[s] = true
		f.Add(s)
		f.Add(s + "=")
		f.Add(s + "\n")
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		_, err := r.OpenString("p", s, []byte("ctx"))
		if err == nil {
			raw, err := base64.RawURLEncoding.DecodeString(s)
			if err != nil || base64.RawURLEncoding.EncodeToString(raw) != s {
				t.Fatalf("accepted %q, which is not canonical", s)
			}
			return
		}
		if !errors.Is(err, secrets.ErrInvalid) || seeds[s] {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

func BenchmarkMAC(b *testing.B) {
	r := ring(b, secretA)
	id := []byte("0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.MAC("a", "code", id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseHandle(b *testing.B) {
	r := ring(b, secretA)
	h := r.Handle("refresh", []byte("0123456789abcdef"))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.ParseHandle("refresh", h); err != nil {
			b.Fatal(err)
		}
	}
}
