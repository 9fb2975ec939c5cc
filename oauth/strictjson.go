package oauth

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// maxJSONDepth is how deep objects and lists may lie inside each other. Claims
// need a handful of levels.
const maxJSONDepth = 64

// A jsonMember is one member of an object: its name decoded, its value as it
// stands in the text, without space around it.
type jsonMember struct{ name, value string }

// parseObject reads text as one JSON object (RFC 8259) in one pass, the way a
// security check has to: UTF-8 only, names that are told apart by their decoded
// characters, and no name twice in one object, at any depth, which encoding/json
// would let an attacker use to show two readers two tokens. It also refuses what
// lies deeper than [maxJSONDepth] and a number that no float64 holds. What it
// returns shares the memory of text.
//
// It is here because it takes a fifth of the time of go-jose's decoder, which
// goes over everything twice and by reflection. It takes exactly what that
// decoder takes (apart from the depth), and FuzzParseObject holds it to that.
func parseObject(text string) ([]jsonMember, bool) {
	if !utf8.ValidString(text) {
		return nil, false
	}
	r := jsonReader{text: text}
	r.space()
	members, ok := r.object(1)
	r.space()
	return members, ok && r.at == len(text)
}

// A jsonReader stands somewhere in a text that is valid UTF-8. Its methods read
// one thing at that place and go past it, or return false.
type jsonReader struct {
	text string
	at   int
}

// next returns the byte at the place, or 0 at the end, which JSON never allows
// outside of a string and which is refused inside of one.
func (r *jsonReader) next() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

// take goes past c if it is there.
func (r *jsonReader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.at++
	return true
}

func (r *jsonReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

// value reads any value, and depth counts what it lies in.
func (r *jsonReader) value(depth int) bool {
	switch r.next() {
	case '"':
		return r.skipString()
	case '{':
		_, ok := r.object(depth + 1)
		return ok
	case '[':
		return r.list(depth+1, nil)
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'n':
		return r.word("null")
	}
	return r.number()
}

func (r *jsonReader) word(word string) bool {
	if !strings.HasPrefix(r.text[r.at:], word) {
		return false
	}
	r.at += len(word)
	return true
}

func (r *jsonReader) object(depth int) (members []jsonMember, ok bool) {
	if depth > maxJSONDepth || !r.take('{') {
		return nil, false
	}
	r.space()
	if r.take('}') {
		return nil, true
	}
	if depth == 1 {
		members = make([]jsonMember, 0, 16) // an access token has a dozen
	}
	for {
		start := r.at
		if !r.skipString() {
			return nil, false
		}
		name, ok := unquote(r.text[start:r.at])
		if !ok {
			return nil, false
		}
		r.space()
		if !r.take(':') {
			return nil, false
		}
		r.space()
		start = r.at
		if !r.value(depth) {
			return nil, false
		}
		members = append(members, jsonMember{name, r.text[start:r.at]})
		r.space()
		if r.take('}') {
			return members, !repeated(members)
		}
		if !r.take(',') {
			return nil, false
		}
		r.space()
	}
}

// repeated says whether a name comes twice. Few names are compared with each
// other; many would take the square of their number that way.
func repeated(members []jsonMember) bool {
	if len(members) > 32 {
		seen := make(map[string]struct{}, len(members))
		for _, m := range members {
			seen[m.name] = struct{}{}
		}
		return len(seen) < len(members)
	}
	seen := uint64(0) // one bit for length and last letter: most names differ in that already
	for i, m := range members {
		n := len(m.name)
		if n > 0 {
			n += 5 * int(m.name[n-1])
		}
		bit := uint64(1) << (n % 64)
		if seen&bit != 0 && slices.ContainsFunc(members[:i], func(other jsonMember) bool { return other.name == m.name }) {
			return true
		}
		seen |= bit
	}
	return false
}

// list reads a list and calls each, unless it is nil, for its values.
func (r *jsonReader) list(depth int, each func(value string)) bool {
	if depth > maxJSONDepth || !r.take('[') {
		return false
	}
	r.space()
	if r.take(']') {
		return true
	}
	for {
		start := r.at
		if !r.value(depth) {
			return false
		}
		if each != nil {
			each(r.text[start:r.at])
		}
		r.space()
		if r.take(']') {
			return true
		}
		if !r.take(',') {
			return false
		}
		r.space()
	}
}

// skipString reads a string with its quotes.
func (r *jsonReader) skipString() bool {
	if !r.take('"') {
		return false
	}
	text := r.text
	for i := r.at; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			r.at = i + 1
			return true
		case c < ' ':
			return false
		case c == '\\':
			n := escapeLength(text[i:])
			if n == 0 {
				return false
			}
			i += n - 1
		}
	}
	return false
}

// escapeLength returns how long the escape sequence is with which s begins, or 0
// if it is none.
func escapeLength(s string) int {
	if len(s) < 2 {
		return 0
	}
	if s[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, s[1]) < 0 {
			return 0
		}
		return 2
	}
	if len(s) < 6 {
		return 0
	}
	for i := 2; i < 6; i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return 0
		}
	}
	return 6
}

// number reads a number (RFC 8259 section 6).
func (r *jsonReader) number() bool {
	start := r.at
	r.take('-')
	if !r.take('0') && !r.digits() { // no digit follows a leading zero
		return false
	}
	if r.take('.') && !r.digits() {
		return false
	}
	exponent := false
	if r.next()|0x20 == 'e' {
		exponent = true
		r.at++
		if !r.take('+') {
			r.take('-')
		}
		if !r.digits() {
			return false
		}
	}
	// Without an exponent it takes 309 digits to leave the range of a float64.
	number := r.text[start:r.at]
	if !exponent && len(number) < 300 {
		return true
	}
	_, err := strconv.ParseFloat(number, 64)
	return err == nil
}

// digits reads one digit or more.
func (r *jsonReader) digits() bool {
	start := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > start
}

// unquote decodes a string that skipString has read, or returns false for any
// other value. What has no escape in it shares the memory of quoted.
func unquote(quoted string) (string, bool) {
	if len(quoted) < 2 || quoted[0] != '"' {
		return "", false
	}
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], true
	}
	var s string
	err := json.Unmarshal([]byte(quoted), &s)
	return s, err == nil
}
