package oauth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// lastSecond is the end of the year 9999. A later date is a mistake or an
// attempt at an overflow.
const lastSecond = 253402300799

var errNotStrict = errors.New("not one JSON object in UTF-8 without repeated members")

// members are those of one JSON object. The methods take typed values out of it
// and keep the first fault in err, so that a caller reads all it needs and looks
// once. No error contains a value: what is wrong was written by a stranger.
type members struct {
	list []jsonMember
	err  error
}

// parseMembers reads data as one JSON object, as strictly as parseObject does.
func parseMembers(data []byte) (*members, error) {
	list, ok := parseObject(string(data))
	if !ok {
		return nil, errNotStrict
	}
	return &members{list: list}, nil
}

// find returns the value called name among list as it stood in the text, or ""
// when there is none: no value is empty. A dozen names are searched faster than
// hashed.
func find(list []jsonMember, name string) string {
	for i := range list {
		if list[i].name == name {
			return list[i].value
		}
	}
	return ""
}

// decodeMember decodes the value called name among list into v, a copy of it, because
// v's own UnmarshalJSON may do with it what it likes. Without the member v is left
// alone and the error is [ErrNoClaim].
func decodeMember(list []jsonMember, name string, v any) error {
	raw := find(list, name)
	if raw == "" {
		return ErrNoClaim
	}
	if err := json.Unmarshal([]byte(raw), v); err != nil {
		return fmt.Errorf("decode claim %q: %w", name, err)
	}
	return nil
}

func (m *members) raw(name string) string { return find(m.list, name) }

func (m *members) has(name string) bool { return m.raw(name) != "" }

func (m *members) fail(name, want string) {
	if m.err == nil {
		m.err = fmt.Errorf("%s is not %s", name, want)
	}
}

// text returns a member that has to be a string with something in it.
func (m *members) text(name string) string {
	s, ok := unquote(m.raw(name))
	if !ok || s == "" {
		m.fail(name, "a string with something in it")
	}
	return s
}

// texts returns a member that has to be a list of strings.
func (m *members) texts(name string) []string {
	texts := make([]string, 0, min(strings.Count(m.raw(name), ",")+1, 8))
	r := jsonReader{text: m.raw(name)}
	good := true
	isList := r.list(1, func(value string) {
		s, ok := unquote(value)
		good = good && ok
		texts = append(texts, s)
	})
	if !isList || !good {
		m.fail(name, "a list of strings")
		return nil
	}
	return texts
}

// audience returns "aud", one string or a list of them (RFC 7519 section 4.1.3).
func (m *members) audience() []string {
	if strings.HasPrefix(m.raw("aud"), `"`) {
		return []string{m.text("aud")}
	}
	return m.texts("aud")
}

// date returns a member that has to be a NumericDate in whole seconds, after
// 1970 and before the year 10000. RFC 7519 also allows fractions; no issuer of
// access tokens needs them, and a float is where the overflows live.
func (m *members) date(name string) time.Time {
	seconds, err := strconv.ParseInt(m.raw(name), 10, 64)
	if err != nil || seconds <= 0 || seconds > lastSecond {
		m.fail(name, "a date in whole seconds")
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// scopes returns "scope", a string as in RFC 8693 section 4.2. An empty one is
// the empty set.
func (m *members) scopes() Scopes {
	value, ok := unquote(m.raw("scope"))
	scopes, err := ParseScope(value)
	if !ok || err != nil {
		m.fail("scope", "a scope string")
	}
	return scopes
}

// confirmation returns "cnf". It has to be of a kind that we know, and one of
// them: a member that is not understood may be the one that matters (RFC 7800
// section 3.1 lets us ignore it, which would take the token for a weaker one).
func (m *members) confirmation() Confirmation {
	var raw map[string]string
	var c Confirmation
	if err := json.Unmarshal([]byte(m.raw("cnf")), &raw); err == nil && len(raw) == 1 {
		c = Confirmation{JKT: raw["jkt"], X5TS256: raw["x5t#S256"]}
	}
	for _, print := range []string{c.JKT, c.X5TS256} {
		if sum, err := base64url.DecodeString(print); err == nil && len(sum) == sha256.Size && len(print) == base64url.EncodedLen(sha256.Size) {
			return c
		}
	}
	m.fail("cnf", "one SHA-256 thumbprint, jkt or x5t#S256")
	return Confirmation{}
}
