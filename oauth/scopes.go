package oauth

import (
	"errors"
	"iter"
	"slices"
	"strings"
)

// maxScopeBytes bounds a scope value. It is far above what clients ask for and
// low enough that comparing all names with each other costs nothing.
const maxScopeBytes = 2048

var errScope = errors.New("oauth: scope must be names of RFC 6749 section 3.3 with one space between them, 2048 bytes at most")

// Scopes is a set of scope names in the order they were first said. The zero
// value is the empty set. A Scopes cannot be changed, so it may be shared and
// copied freely.
type Scopes struct {
	names []string
}

// ParseScope reads a scope value as RFC 6749 section 3.3 writes it: names of
// printable ASCII without space, quote and backslash, one space between two of
// them. A repeated name is kept once. The empty string is the empty set, because
// a parameter without a value counts as left out (section 3.1). Anything else,
// and anything over 2048 bytes, is an error.
func ParseScope(s string) (Scopes, error) {
	if s == "" {
		return Scopes{}, nil
	}
	if len(s) > maxScopeBytes {
		return Scopes{}, errScope
	}
	names := make([]string, 0, min(strings.Count(s, " ")+1, 8))
	for name := range strings.SplitSeq(s, " ") {
		if !ValidScopeName(name) {
			return Scopes{}, errScope
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return Scopes{names}, nil
}

// ValidScopeName says whether s is a scope-token of RFC 6749 section 3.3.
func ValidScopeName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// Has says whether name is in the set. Names are compared byte by byte.
func (s Scopes) Has(name string) bool { return slices.Contains(s.names, name) }

// HasAll says whether every one of names is in the set. It is true for no names.
func (s Scopes) HasAll(names ...string) bool {
	for _, name := range names {
		if !s.Has(name) {
			return false
		}
	}
	return true
}

// All returns the names in order.
func (s Scopes) All() iter.Seq[string] { return slices.Values(s.names) }

// Len returns the number of names.
func (s Scopes) Len() int { return len(s.names) }

// String returns the set as a scope value, the inverse of [ParseScope].
func (s Scopes) String() string { return strings.Join(s.names, " ") }
