package oauth_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/oauth"
)

func TestParseScope(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"openid":                  "openid",
		"openid email":            "openid email",
		"b a b a":                 "b a",
		"notes:read !#[]^~":       "notes:read !#[]^~",
		strings.Repeat("x", 2048): strings.Repeat("x", 2048),
	} {
		scopes, err := oauth.ParseScope(in)
		if err != nil || scopes.String() != want {
			t.Errorf("ParseScope(%.40q) = %q, %v, want %q", in, scopes, err, want)
		}
	}
	for _, in := range []string{
		" ", " a", "a ", "a  b", "a\tb", "a\nb", "a\x00", "a\x7f", `a"b`, `a\b`, "ä", "a\u00a0b", "\xff", strings.Repeat("x", 2049),
	} {
		if scopes, err := oauth.ParseScope(in); err == nil {
			t.Errorf("ParseScope(%.40q) = %q, want an error", in, scopes)
		}
	}
}

func TestScopes(t *testing.T) {
	scopes, err := oauth.ParseScope("a b")
	if err != nil {
		t.Fatal(err)
	}
	if !scopes.Has("a") || scopes.Has("A") || scopes.Has("") || scopes.Has("a b") {
		t.Error("Has is wrong")
	}
	if !scopes.HasAll() || !scopes.HasAll("b", "a") || scopes.HasAll("a", "c") {
		t.Error("HasAll is wrong")
	}
	names := slices.Collect(scopes.All())
	names[0] = "changed"
	if scopes.Len() != 2 || !scopes.Has("a") {
		t.Error("a caller could change the set")
	}
	var none oauth.Scopes
	if none.Has("a") || none.Len() != 0 || none.String() != "" || !none.HasAll() {
		t.Error("the zero value is not the empty set")
	}
}

func TestValidScopeName(t *testing.T) {
	for c := range 256 {
		// RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E.
		want := c == 0x21 || c >= 0x23 && c <= 0x5b || c >= 0x5d && c <= 0x7e
		if got := oauth.ValidScopeName("a" + string([]byte{byte(c)})); got != want {
			t.Errorf("with byte %#x: %v, want %v", c, got, want)
		}
	}
	if oauth.ValidScopeName("") {
		t.Error("the empty string is not a name")
	}
}

func FuzzParseScope(f *testing.F) {
	f.Add("openid email")
	f.Add("a a  b")
	f.Fuzz(func(t *testing.T, in string) {
		scopes, err := oauth.ParseScope(in)
		if err != nil {
			if scopes.Len() != 0 {
				t.Error("an error came with scopes")
			}
			return
		}
		again, err := oauth.ParseScope(scopes.String())
		if err != nil || again.String() != scopes.String() {
			t.Errorf("%q became %q, %v", scopes, again, err)
		}
		for name := range scopes.All() {
			if !slices.Contains(strings.Split(in, " "), name) {
				t.Errorf("%q is not in %q", name, in)
			}
		}
	})
}
