package mail_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/provider/mail"
)

// grammar is what an address may look like after parsing, written down a second
// time.
var grammar = regexp.MustCompile(
	"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*" +
		`@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"a@b.example":                         "a@b.example",
		"First.Last+tag@Mail.EXAMPLE":         "First.Last+tag@mail.example",
		"!#$%&'*+-/?=^_`{|}~@b.example":       "!#$%&'*+-/?=^_`{|}~@b.example",
		"a@bücher.example":                    "a@xn--bcher-kva.example",
		"a@xn--bcher-kva.example":             "a@xn--bcher-kva.example",
		"a@XN--BCHER-KVA.example":             "a@xn--bcher-kva.example",
		"a@例え.jp":                             "a@xn--r8jz45g.jp",
		"a@straße.example":                    "a@xn--strae-oqa.example",
		"1@2.example":                         "1@2.example",
		strings.Repeat("a", 64) + "@b.ex":     strings.Repeat("a", 64) + "@b.ex",
		"a@" + strings.Repeat("b", 63) + ".c": "a@" + strings.Repeat("b", 63) + ".c",
	} {
		a, err := mail.ParseAddress(in)
		if err != nil || a.String() != want {
			t.Errorf("ParseAddress(%q) = %q, %v; want %q", in, a, err, want)
		}
	}
}

// What Go's net/mail accepts of these is why there is a grammar of our own.
func TestEC29AddressSyntax(t *testing.T) {
	for _, in := range []string{
		"", "@", "a", "a@", "@b.com", "a@@b.com", "a@b@c.com",
		"Evil <a@b.com>", "<a@b.com>", "a@b.com (c)", "(c)a@b.com", `"a b"@c.com`, `"a"@c.com`,
		"a@[127.0.0.1]", "a@127.0.0.1", "a@[IPv6:::1]", "a@b", "a@localhost",
		"=?utf-8?q?a=40evil.com=3E?=@good.com", "=?utf-8?q?a?= <a@b.com>",
		strings.Repeat("a", 65) + "@b.com", strings.Repeat("a", 70) + "@b.com",
		"a@-b.com", "a@b-.com", "a@b..com", "a@b.com.", "a@.b.com", "a@b_c.com",
		"a@" + strings.Repeat("b", 64) + ".com",
		"a@" + strings.Repeat("b.", 126) + "com",
		"\u202Ea@b.com", "a\u202E@b.com", "a@b\u202E.com", "a\u200B@b.com",
		"a@b.com ", " a@b.com", "a @b.com", "a@ b.com", "a@b.com\t",
		"a@b.com, c@d.com", "a@b.com;c@d.com", "a@b.com,c@d.com", "@x,@y:a@b.com",
		"a@b.com\x00", "a\x00@b.com", ".a@b.com", "a.@b.com", "a..b@c.com",
		"a@xn--a.com", "a@xn--.com", "a@xn--abc-.com", "a@ab--cd.com", "a@b.com%0d%0a", "a%0d%0a\r@b.com",
		"a@\xff.com", "\xff@b.com", strings.Repeat("a@", 1<<16),
	} {
		if a, err := mail.ParseAddress(in); !errors.Is(err, mail.ErrAddress) {
			t.Errorf("ParseAddress(%q) = %q, %v; want ErrAddress", in, a, err)
		}
	}
}

func TestEC32NoLineBreakInAnAddress(t *testing.T) {
	for _, breaker := range []string{"\r\nBcc: x@evil.com", "\n", "\r", "\u2028", "\u2029", "\u0085", "\v", "\x00"} {
		for _, in := range []string{"a" + breaker + "@b.com", "a@b" + breaker + ".com", "a@b.com" + breaker, breaker + "a@b.com"} {
			if _, err := mail.ParseAddress(in); !errors.Is(err, mail.ErrAddress) {
				t.Errorf("ParseAddress(%q): %v; want ErrAddress", in, err)
			}
		}
	}
}

func TestEC33RecipientSmuggling(t *testing.T) {
	for _, in := range []string{
		`"v@good.com> ORCPT=x"@evil.com`, "v@good.com> ORCPT=x@evil.com", "v>@evil.com", "<v@evil.com", `v\@good.com@evil.com`,
	} {
		if _, err := mail.ParseAddress(in); !errors.Is(err, mail.ErrAddress) {
			t.Errorf("ParseAddress(%q): %v; want ErrAddress", in, err)
		}
	}
}

// Each pair looks or folds alike. They are two identities or one is refused.
func TestEC27UnicodeIdentity(t *testing.T) {
	for _, pair := range [][2]string{
		{"\u212Aim@b.com", "kim@b.com"},             // the Kelvin sign
		{"a@\u212Aim.com", "a@kim.com"},             //
		{"m\u0131ke@b.com", "mike@b.com"},           // dotless i
		{"a@m\u0131ke.com", "a@mike.com"},           //
		{"\u0130a@b.com", "ia@b.com"},               // İ
		{"a@\u0130a.com", "a@ia.com"},               //
		{"\u017Fa@b.com", "sa@b.com"},               // long s
		{"a@\u017Fa.com", "a@sa.com"},               //
		{"\uFF41@b.com", "a@b.com"},                 // full-width a
		{"a@\uFF47mail.com", "a@gmail.com"},         //
		{"a@exa\u00ADmple.com", "a@example.com"},    // soft hyphen
		{"a@gmail\u3002com", "a@gmail.com"},         // ideographic full stop
		{"a@bu\u0308cher.com", "a@b\u00FCcher.com"}, // decomposed ü
		{"a@b\u00DCcher.com", "a@b\u00FCcher.com"},  // Ü
		{"a@ex\u200Dample.com", "a@example.com"},    // joiner
		{"a@stra\u00DFe.com", "a@strasse.com"},      // ß is a letter of its own
		{"a.b@gmail.com", "ab@gmail.com"},           // EC-30: folded for limits only
		{"a+x@b.com", "a@b.com"},                    //
	} {
		strange, err := mail.ParseAddress(pair[0])
		plain, err2 := mail.ParseAddress(pair[1])
		if err2 != nil {
			t.Errorf("ParseAddress(%q): %v", pair[1], err2)
		}
		if err == nil && strange.Identity() == plain.Identity() {
			t.Errorf("%q and %q are one identity, %q", pair[0], pair[1], plain.Identity())
		}
	}
}

func TestIdentity(t *testing.T) {
	a, err := mail.ParseAddress("Kim.K@Bücher.Example")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.String(), "Kim.K@xn--bcher-kva.example"; got != want {
		t.Errorf("String() = %q; want %q", got, want)
	}
	if got, want := a.Identity(), "kim.k@xn--bcher-kva.example"; got != want {
		t.Errorf("Identity() = %q; want %q", got, want)
	}
	if got, want := a.Domain(), "xn--bcher-kva.example"; got != want {
		t.Errorf("Domain() = %q; want %q", got, want)
	}
	if zero := (mail.Address{}); zero.String() != "" || zero.Identity() != "" {
		t.Errorf("the zero Address is %q, %q", zero.String(), zero.Identity())
	}
}

// EC-31: mail to a local part outside ASCII needs SMTPUTF8, which we do not offer.
func TestEC31LocalPartIsASCII(t *testing.T) {
	if _, err := mail.ParseAddress("用户@例え.jp"); !errors.Is(err, mail.ErrAddress) {
		t.Errorf("got %v; want ErrAddress", err)
	}
}

func TestAddressErrorsDoNotRepeatTheAddress(t *testing.T) {
	for _, in := range []string{"verysecret", "verysecret@", "very secret@b.com", "a@verysecret", "verysecret@-b.com"} {
		if _, err := mail.ParseAddress(in); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseAddress(%q): %v", in, err)
		}
	}
}

// FZ-11.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b.com", "A.b+c@Bücher.example", `"x"@b.com`, "a@xn--bcher-kva.example", "a@\u212Aim.com", "a@[::1]", "a@\xff.b", "a@xn--\U0001F600.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return
		}
		if out := a.String(); !grammar.MatchString(out) || len(out) > 254 {
			t.Fatalf("%q became %q, which is outside the grammar", s, out)
		}
		for _, form := range []string{a.String(), a.Identity()} {
			again, err := mail.ParseAddress(form)
			if err != nil || again.String() != form || again.Identity() != a.Identity() || again.Domain() != a.Domain() {
				t.Fatalf("%q became %q, which becomes %q, %v", s, form, again, err)
			}
		}
		local, _, _ := strings.Cut(s, "@")
		if got, _, _ := strings.Cut(a.String(), "@"); got != local {
			t.Fatalf("the local part of %q became %q", s, got)
		}
	})
}
