package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/provider/storage"
)

// maxToken bounds the work a stranger can ask for.
const maxToken = 16 << 10

// snapshot is one set, ready for use. It is immutable.
type snapshot struct {
	version storage.Version
	set     *set
	keys    []*key
	byKID   map[string]*key
	public  []jose.JSONWebKey
	jwks    []byte
	etag    string
}

func newSnapshot(s *set, v storage.Version) (*snapshot, error) {
	snap := &snapshot{version: v, set: s, keys: s.all(), byKID: map[string]*key{}}
	for _, k := range snap.keys {
		snap.byKID[k.kid] = k
		snap.public = append(snap.public, *k.public())
	}
	if len(snap.byKID) != len(snap.keys) {
		return nil, fmt.Errorf("%w: one key stands twice in the key set", storage.ErrUnfit)
	}
	var err error
	if snap.jwks, err = json.Marshal(jose.JSONWebKeySet{Keys: snap.public}); err != nil {
		return nil, fmt.Errorf("render key set: %w", err)
	}
	sum := sha256.Sum256(snap.jwks)
	snap.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	return snap, nil
}

// JWKS returns the key set (RFC 7517 section 5), public members only, and its
// entity tag with quotes. Both are made once per set; the caller must not change
// body. Before Load the set is empty.
func (r *Ring) JWKS() (body []byte, etag string) {
	s := r.held.Load()
	if s == nil {
		return []byte(`{"keys":[]}`), `"none"`
	}
	return s.jwks, s.etag
}

// PublicKeys returns the public keys that JWKS shows, as a copy, for a verifier in
// the same process. Before Load there are none.
func (r *Ring) PublicKeys() jose.JSONWebKeySet {
	s := r.held.Load()
	if s == nil {
		return jose.JSONWebKeySet{}
	}
	return jose.JSONWebKeySet{Keys: slices.Clone(s.public)}
}

// Sign returns claims as a compact JWS (RFC 7515 section 3.1), signed with the
// current key of alg. typ is the media type of RFC 7515 section 4.1.9 without
// "application/": "at+jwt", "JWT", "logout+jwt", or "" for none. claims is a value
// that encoding/json makes an object of.
//
// It returns ErrNotLoaded before Load, and an error for an algorithm that has no
// key and for a token beyond 16 KiB, which no ring would accept.
func (r *Ring) Sign(alg, typ string, claims any) (string, error) {
	s := r.held.Load()
	if s == nil {
		return "", ErrNotLoaded
	}
	slot, ok := s.set.slots[alg]
	if !ok {
		return "", fmt.Errorf("sign token: no key for %q", alg)
	}
	var payload bytes.Buffer
	enc := json.NewEncoder(&payload)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(claims); err != nil {
		return "", fmt.Errorf("sign token: encode claims: %w", err)
	}
	body := bytes.TrimSuffix(payload.Bytes(), []byte("\n"))
	if len(body) == 0 || body[0] != '{' {
		return "", errors.New("sign token: the claims are no JSON object")
	}
	k := slot.current
	head := k.header(typ)
	token := make([]byte, 0, len(head)+base64.RawURLEncoding.EncodedLen(len(body))+1+base64.RawURLEncoding.EncodedLen(rsaBits/8))
	token = append(token, head...)
	token = base64.RawURLEncoding.AppendEncode(token, body)
	sig, err := k.sign(token)
	if err != nil {
		return "", fmt.Errorf("sign token with key %s: %w", k.kid, err)
	}
	token = append(token, '.')
	token = base64.RawURLEncoding.AppendEncode(token, sig)
	if len(token) > maxToken {
		return "", fmt.Errorf("sign token: %d bytes are more than %d", len(token), maxToken)
	}
	return string(token), nil
}

// Verify returns the payload of a compact JWS that the current, next or previous
// key of this ring has signed, and the key's algorithm and id. The header must be
// spelled as Sign spells it: no members but alg, kid and typ, and no algorithm but
// the key's own. typ is compared as RFC 7515 section 4.1.9 says: without case,
// with or without "application/".
//
// Otherwise Verify returns ErrInvalid, or ErrNotLoaded before Load. It judges no
// claims: not the issuer, not the audience, not the times.
func (r *Ring) Verify(token, typ string) (alg, kid string, payload []byte, err error) {
	s := r.held.Load()
	if s == nil {
		return "", "", nil, ErrNotLoaded
	}
	if len(token) > maxToken {
		return "", "", nil, fmt.Errorf("%w: too long", ErrInvalid)
	}
	head, rest, _ := strings.Cut(token, ".")
	body, signature, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", nil, fmt.Errorf("%w: not a compact JWS", ErrInvalid)
	}
	var h header
	if raw, ok := decode(head); !ok || json.Unmarshal(raw, &h) != nil {
		return "", "", nil, fmt.Errorf("%w: header", ErrInvalid)
	}
	k := s.byKID[h.KID]
	if k == nil || k.header(h.Typ) != token[:len(head)+1] {
		return "", "", nil, fmt.Errorf("%w: key", ErrInvalid)
	}
	if mediaType(h.Typ) != mediaType(typ) {
		return "", "", nil, fmt.Errorf("%w: type", ErrInvalid)
	}
	sig, ok := decode(signature)
	if !ok || !k.verify([]byte(token[:len(head)+1+len(body)]), sig) {
		return "", "", nil, fmt.Errorf("%w: signature", ErrInvalid)
	}
	if payload, ok = decode(body); !ok {
		return "", "", nil, fmt.Errorf("%w: payload", ErrInvalid)
	}
	return k.alg, k.kid, payload, nil
}

func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// decode is strict base64url: no padding, no line breaks, no unused bits, so that
// no two strings are the same token.
func decode(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil
}
