// Package secrets makes everything that must be hard to guess and everything
// that must be unreadable where it is stored.
//
// Its invariant: no secret is ever stored as itself. What has to be said twice
// (an emailed code, a refresh token, a handle) is derived again from the
// deployment's secret, and what has to be kept (a signing key) is sealed. Every
// derived or sealed value names the secret it came from, so a deployment can
// change secrets while the old ones are still out.
package secrets

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
)

// ErrInvalid says that a handle or sealed value was not made by this ring for
// this purpose. It does not say why.
var ErrInvalid = errors.New("secrets: not ours")

// MinBytes is the length below which New refuses a secret.
const MinBytes = 32

// A Purpose keeps values of different use apart: the same id under two purposes
// gives two unrelated values. Purposes are constants of the program: what is
// derived for one is kept for the life of the ring.
type Purpose string

// A Secret is one of the deployment's secrets. Printed or logged it shows its ID
// only.
type Secret struct {
	ID    string // what values made from it are marked with
	Value []byte `json:"-"` // at least MinBytes, used through HKDF only
}

// Format writes the ID and never the Value, whatever the verb.
func (s Secret) Format(w fmt.State, _ rune) { fmt.Fprintf(w, "secret %q", s.ID) }

// LogValue returns the ID.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.ID) }

// A Ring derives, seals and checks. The first secret makes new values, all of
// them check old ones. It is immutable and safe for concurrent use.
type Ring struct {
	secrets []*derived
	byTag   map[tag]*derived
}

// Format writes the ids of the secrets, whatever the verb.
func (r *Ring) Format(w fmt.State, _ rune) {
	ids := make([]string, len(r.secrets))
	for i, d := range r.secrets {
		ids[i] = d.id
	}
	fmt.Fprintf(w, "secrets %q", ids)
}

// tag is the mark of a secret inside a value: short, and telling nothing.
type tag [4]byte

// New returns a ring of the given secrets, the current one first.
func New(list []Secret) (*Ring, error) {
	if len(list) == 0 {
		return nil, errors.New("no secret: at least one is needed")
	}
	r := &Ring{byTag: make(map[tag]*derived, len(list))}
	for i, s := range list {
		if s.ID == "" {
			return nil, fmt.Errorf("secret %d has no id", i+1)
		}
		if len(s.Value) < MinBytes {
			return nil, fmt.Errorf("secret %q has %d bytes; at least %d are needed", s.ID, len(s.Value), MinBytes)
		}
		key, err := hkdf.Extract(sha256.New, s.Value, []byte("lettergate secret v1"))
		if err != nil {
			return nil, fmt.Errorf("secret %q: %w", s.ID, err)
		}
		d := &derived{id: s.ID, key: key}
		sum := sha256.Sum256([]byte("kid\x00" + s.ID))
		copy(d.tag[:], sum[:])
		if other, dup := r.byTag[d.tag]; dup {
			return nil, fmt.Errorf("secret id %q is used twice or cannot be told from %q; choose another", s.ID, other.id)
		}
		r.secrets = append(r.secrets, d)
		r.byTag[d.tag] = d
	}
	return r, nil
}

// Current returns the id of the secret that makes new values.
func (r *Ring) Current() string { return r.secrets[0].id }

// Has reports whether a secret named kid is listed.
func (r *Ring) Has(kid string) bool { return r.byID(kid) != nil }

func (r *Ring) byID(kid string) *derived {
	for _, d := range r.secrets {
		if d.id == kid {
			return d
		}
	}
	return nil
}

// MAC returns the 32-byte HMAC-SHA-256 of parts under the secret named kid.
// The parts are framed, so ("a", "bc") and ("ab", "c") differ. An unknown kid
// returns ErrInvalid.
func (r *Ring) MAC(kid string, p Purpose, parts ...[]byte) ([]byte, error) {
	d := r.byID(kid)
	if d == nil {
		return nil, fmt.Errorf("%w: unknown secret id", ErrInvalid)
	}
	return d.mac(p, parts...), nil
}

// Handle returns payload as an unguessable string: payload, in base64url, with
// the secret's mark and a MAC. Anybody can read the payload; nobody else can make
// one. The same payload gives the same handle as long as the secret is current.
func (r *Ring) Handle(p Purpose, payload []byte) string {
	return r.handle(r.secrets[0], p, payload)
}

// HandleUnder is Handle under the secret named kid, so that a handle can be said
// again after the deployment's secret was changed.
func (r *Ring) HandleUnder(kid string, p Purpose, payload []byte) (string, error) {
	d := r.byID(kid)
	if d == nil {
		return "", fmt.Errorf("%w: unknown secret id", ErrInvalid)
	}
	return r.handle(d, p, payload), nil
}

func (r *Ring) handle(d *derived, p Purpose, payload []byte) string {
	raw := make([]byte, 0, len(d.tag)+len(payload)+sha256.Size)
	raw = append(raw, d.tag[:]...)
	raw = append(raw, payload...)
	raw = append(raw, d.mac(p, payload)...)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// ParseHandle returns the payload of a handle and the id of the secret it was
// made with, or ErrInvalid. Each payload and secret has exactly one spelling.
func (r *Ring) ParseHandle(p Purpose, s string) (payload []byte, kid string, err error) {
	raw, err := decode(s)
	if err != nil || len(raw) < len(tag{})+sha256.Size {
		return nil, "", ErrInvalid
	}
	d := r.byTag[tag(raw[:4])]
	if d == nil {
		return nil, "", ErrInvalid
	}
	payload = raw[4 : len(raw)-sha256.Size]
	if !hmac.Equal(raw[len(raw)-sha256.Size:], d.mac(p, payload)) {
		return nil, "", ErrInvalid
	}
	return payload, d.id, nil
}

// Seal encrypts plaintext with AES-256-GCM and binds it to context, which must
// be the same at Open. Two calls never give the same bytes.
func (r *Ring) Seal(p Purpose, plaintext, context []byte) []byte {
	d := r.secrets[0]
	aead := d.aead(p)
	out := make([]byte, len(d.tag)+aead.NonceSize(), len(d.tag)+aead.NonceSize()+len(plaintext)+aead.Overhead())
	copy(out, d.tag[:])
	nonce := out[len(d.tag):]
	rand.Read(nonce) // crypto/rand.Read never fails
	return aead.Seal(out, nonce, plaintext, context)
}

// Open returns what Seal was given, or ErrInvalid.
func (r *Ring) Open(p Purpose, sealed, context []byte) ([]byte, error) {
	if len(sealed) < len(tag{}) {
		return nil, ErrInvalid
	}
	d := r.byTag[tag(sealed[:4])]
	if d == nil {
		return nil, ErrInvalid
	}
	aead := d.aead(p)
	sealed = sealed[4:]
	if len(sealed) < aead.NonceSize() {
		return nil, ErrInvalid
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], context)
	if err != nil {
		return nil, ErrInvalid
	}
	return plain, nil
}

// SealString and OpenString are Seal and Open in base64url, for forms and cookies.
func (r *Ring) SealString(p Purpose, plaintext, context []byte) string {
	return base64.RawURLEncoding.EncodeToString(r.Seal(p, plaintext, context))
}

// OpenString returns what SealString was given, or ErrInvalid.
func (r *Ring) OpenString(p Purpose, s string, context []byte) ([]byte, error) {
	raw, err := decode(s)
	if err != nil {
		return nil, ErrInvalid
	}
	return r.Open(p, raw, context)
}

// Digits returns a decimal code of n digits, uniform and with leading zeros,
// that follows from the secret named kid and the parts. n is 1 to 18; another n
// and an unknown kid are errors.
func (r *Ring) Digits(kid string, p Purpose, n int, parts ...[]byte) (string, error) {
	if n < 1 || n > 18 {
		return "", fmt.Errorf("secrets: a code of %d digits", n)
	}
	mac, err := r.MAC(kid, p, parts...)
	if err != nil {
		return "", err
	}
	// 256 bits reduced modulo 10^n: for n up to 18 the bias is below 2^-196.
	mod := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	v := new(big.Int).SetBytes(mac)
	return fmt.Sprintf("%0*d", n, v.Mod(v, mod)), nil
}

// Pseudonym returns a name for s that does not change when the deployment's
// secret does not, and that cannot be turned back without it. Counters are
// named so: a dump of the store does not tell whose they are.
func (r *Ring) Pseudonym(p Purpose, s string) string {
	// The oldest secret, so that changing secrets does not reset what is counted
	// before the old secret is withdrawn.
	d := r.secrets[len(r.secrets)-1]
	return base64.RawURLEncoding.EncodeToString(d.mac(p, []byte(s))[:16])
}

// decode is strict base64url: no padding, no line breaks, no unused bits, so
// that each value has one spelling.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrInvalid
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// NewID draws a 128-bit identifier in base64url.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // crypto/rand.Read never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ParseID returns the 16 bytes of an identifier that NewID can have drawn.
func ParseID(id string) ([]byte, bool) {
	raw, err := decode(id)
	return raw, err == nil && len(raw) == 16
}
