package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

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
	raw map[string]json.RawMessage
	err error
}

// parseMembers reads data as one JSON object, the way a security check has to:
// go-jose's decoder matches names exactly and refuses a member that comes twice,
// which encoding/json would let an attacker use to show two readers two tokens.
func parseMembers(data []byte) (*members, error) {
	if !utf8.Valid(data) {
		return nil, errNotStrict
	}
	m := new(members)
	if err := json.Unmarshal(data, &m.raw); err != nil || m.raw == nil {
		return nil, errNotStrict
	}
	for _, value := range m.raw {
		// A RawMessage is copied unread, so members repeated further inside
		// show only when the value is decoded.
		if len(value) == 0 || value[0] != '{' && value[0] != '[' {
			continue
		}
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, errNotStrict
		}
	}
	return m, nil
}

func (m *members) has(name string) bool {
	_, ok := m.raw[name]
	return ok
}

func (m *members) fail(name, want string) {
	if m.err == nil {
		m.err = fmt.Errorf("%s is not %s", name, want)
	}
}

// text returns a member that has to be a string with something in it.
func (m *members) text(name string) string {
	var s string
	// Absent is refused here too. So is null, which Unmarshal takes for "".
	if err := json.Unmarshal(m.raw[name], &s); err != nil || s == "" {
		m.fail(name, "a string with something in it")
	}
	return s
}

// texts returns a member that has to be a list of strings.
func (m *members) texts(name string) []string {
	var list []*string // pointers, to tell null from ""
	if err := json.Unmarshal(m.raw[name], &list); err != nil || list == nil {
		m.fail(name, "a list of strings")
		return nil
	}
	texts := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			m.fail(name, "a list of strings")
			return nil
		}
		texts[i] = *s
	}
	return texts
}

// audience returns "aud", one string or a list of them (RFC 7519 section 4.1.3).
func (m *members) audience() []string {
	if raw := m.raw["aud"]; len(raw) > 0 && raw[0] == '"' {
		return []string{m.text("aud")}
	}
	return m.texts("aud")
}

// date returns a member that has to be a NumericDate in whole seconds, after
// 1970 and before the year 10000. RFC 7519 also allows fractions; no issuer of
// access tokens needs them, and a float is where the overflows live.
func (m *members) date(name string) time.Time {
	seconds, err := strconv.ParseInt(string(m.raw[name]), 10, 64)
	if err != nil || seconds <= 0 || seconds > lastSecond {
		m.fail(name, "a date in whole seconds")
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// scopes returns "scope", a string as in RFC 8693 section 4.2. An empty one is
// the empty set.
func (m *members) scopes() Scopes {
	var value *string
	if err := json.Unmarshal(m.raw["scope"], &value); err != nil || value == nil {
		m.fail("scope", "a scope string")
		return Scopes{}
	}
	scopes, err := ParseScope(*value)
	if err != nil {
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
	if err := json.Unmarshal(m.raw["cnf"], &raw); err == nil && len(raw) == 1 {
		c = Confirmation{JKT: raw["jkt"], X5TS256: raw["x5t#S256"]}
	}
	for _, print := range []string{c.JKT, c.X5TS256} {
		if sum, err := base64.RawURLEncoding.Strict().DecodeString(print); err == nil && len(sum) == sha256.Size && len(print) == base64.RawURLEncoding.EncodedLen(sha256.Size) {
			return c
		}
	}
	m.fail("cnf", "one SHA-256 thumbprint, jkt or x5t#S256")
	return Confirmation{}
}
