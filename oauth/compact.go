package oauth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

const (
	maxTokenBytes = 16 << 10
	maxKeyIDBytes = 256
)

// base64url refuses padding and unused bits (RFC 7515 section 2).
var base64url = base64.RawURLEncoding.Strict()

var errNotBase64 = errors.New("a part of the token is not base64url")

// A compactToken is a compact JWS (RFC 7515 section 7.1) cut into its parts, which are
// not decoded yet.
type compactToken struct {
	header, payload, signature string
	signed                     string // header and payload as they arrived
}

// cutToken takes a token apart. One token has one spelling: Go's decoder would
// skip CR and LF, and whoever remembers tokens by their bytes could be walked
// around.
func cutToken(token string) (compactToken, error) {
	if len(token) > maxTokenBytes {
		return compactToken{}, errors.New("the token is too long")
	}
	header, rest, ok1 := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	// A third dot ends up in the signature, which is then not base64url.
	if !ok1 || !ok2 || strings.IndexByte(token, '\r') >= 0 || strings.IndexByte(token, '\n') >= 0 {
		return compactToken{}, errors.New("the token is not three parts")
	}
	return compactToken{header, payload, signature, token[:len(header)+1+len(payload)]}, nil
}

// decodePart decodes one part of a token, into space while it fits.
func decodePart(space []byte, part string) ([]byte, error) {
	decoded, err := base64url.AppendDecode(space[:0], []byte(part))
	if err != nil {
		return nil, errNotBase64
	}
	return decoded, nil
}

// tokenParts are the decoded parts of a compact JWS.
type tokenParts struct {
	header, payload, signature []byte
	signed                     []byte // header and payload as they arrived
}

// splitToken takes apart and decodes a token that is seen once.
func splitToken(token string) (tokenParts, error) {
	c, err := cutToken(token)
	if err != nil {
		return tokenParts{}, err
	}
	p := tokenParts{signed: []byte(c.signed)}
	for _, part := range []struct {
		to   *[]byte
		from string
	}{{&p.header, c.header}, {&p.payload, c.payload}, {&p.signature, c.signature}} {
		if *part.to, err = decodePart(nil, part.from); err != nil {
			return tokenParts{}, err
		}
	}
	return p, nil
}

// A joseHeader is what a token's header says that matters.
type joseHeader struct {
	kid, alg  string
	algorithm algorithm
	plain     bool // whether it leaves open what the token is for
}

// parseHeader returns the key and the algorithm that the token names. Members that
// bring or point to a key (jwk, jku, x5c, x5u) are not looked at: keys come from
// the issuer only. With plain, a token may be of the type JWT, or of none.
func parseHeader(part string, allowed map[string]algorithm, plain bool) (*joseHeader, error) {
	decoded, err := decodePart(nil, part)
	if err != nil {
		return nil, err
	}
	m, err := parseMembers(decoded)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	// RFC 9068 section 4. This keeps out ID tokens, logout tokens and whatever
	// else the issuer signs with the same keys.
	h := &joseHeader{plain: plain && isPlain(m)}
	if !h.plain {
		typ := m.text("typ")
		if m.err == nil && !strings.EqualFold(typ, "at+jwt") && !strings.EqualFold(typ, "application/at+jwt") {
			return nil, errors.New("header: typ is not at+jwt")
		}
	}
	// We understand no extension (RFC 7515 section 4.1.11), and b64 would
	// change which bytes are signed (RFC 7797).
	if m.has("crit") || m.has("b64") {
		return nil, errors.New("header: crit or b64 is not supported")
	}
	h.kid, h.alg = m.text("kid"), m.text("alg")
	if m.err != nil {
		return nil, fmt.Errorf("header: %w", m.err)
	}
	var ok bool
	if h.algorithm, ok = allowed[h.alg]; !ok {
		return nil, errors.New("header: alg is not allowed")
	}
	if err := checkKeyID(h.kid); err != nil {
		return nil, err
	}
	return h, nil
}

func checkKeyID(kid string) error {
	if len(kid) > maxKeyIDBytes || strings.ContainsFunc(kid, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("header: kid is too long or has control characters")
	}
	return nil
}

// seenHeaders are the last headers of tokens that were good, by their encoded
// bytes. An issuer writes the same few all the time, one for each of its keys, so
// they are hardly ever parsed. That a header is here says nothing about the token
// that bears it.
type seenHeaders struct {
	slots [16]atomic.Pointer[seenHeader]
	next  atomic.Uint32
}

type seenHeader struct {
	part   string
	header *joseHeader
}

// find returns the header, or nil when it has not been seen lately.
func (s *seenHeaders) find(part string) *joseHeader {
	for i := range s.slots {
		if seen := s.slots[i].Load(); seen != nil && seen.part == part {
			return seen.header
		}
	}
	return nil
}

// add remembers the header of a token that was good, instead of the oldest. A slot
// more or less for one that two goroutines add at once does not matter.
func (s *seenHeaders) add(part string, header *joseHeader) {
	i := s.next.Add(1) % uint32(len(s.slots))
	s.slots[i].Store(&seenHeader{strings.Clone(part), header})
}
