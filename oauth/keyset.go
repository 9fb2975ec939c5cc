package oauth

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

var errNoKeys = errors.New("the key set has no key that could be used")

// A keySet finds a key by what a token says about it. Which algorithms a key may
// verify is settled when the set is made, so a token cannot talk a key into
// another one. A nil value stands for several keys that fit: guessing which was
// meant would let one that was added shadow the other, so none is used.
type keySet map[keyName]crypto.PublicKey

// A keyName is what a token says about its key. The empty kid names the only key
// that fits the algorithm.
type keyName struct{ kid, alg string }

// key returns the key or nil.
func (s keySet) key(kid, alg string) crypto.PublicKey { return s[keyName{kid, alg}] }

func (s keySet) put(name keyName, key crypto.PublicKey) {
	if _, taken := s[name]; taken {
		key = nil
	}
	s[name] = key
}

// add takes a key in for every algorithm that it fits and is meant for, and
// leaves out a key that may not verify signatures at all.
func (s keySet) add(k jose.JSONWebKey) {
	if k.KeyID == "" || len(k.KeyID) > maxKeyIDBytes || k.Use != "" && k.Use != "sig" {
		return
	}
	public := k.Public().Key
	for name, a := range algorithms {
		if k.Algorithm != "" && k.Algorithm != name || !a.fits(public) {
			continue
		}
		s.put(keyName{k.KeyID, name}, public)
		s.put(keyName{"", name}, public)
	}
}

// keep hands out what old has for a key that both have, so that whoever remembers
// where a key was finds it there still.
func (s keySet) keep(old keySet) {
	for name, key := range s {
		if before := old[name]; sameKey(key, before) {
			s[name] = before
		}
	}
}

func (s keySet) usable() bool {
	for _, key := range s {
		if key != nil {
			return true
		}
	}
	return false
}

// parseKeySet reads a JWK set (RFC 7517 section 5). What is not a usable public
// key is skipped, as the RFC asks, so that an issuer can publish kinds of keys
// that did not exist when this was written. No usable key at all is an error.
func parseKeySet(data []byte) (keySet, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if !utf8.Valid(data) || json.Unmarshal(data, &document) != nil {
		return nil, errors.New("the key set is not a JSON object with keys")
	}
	set := make(keySet)
	for _, raw := range document.Keys {
		var k jose.JSONWebKey
		if publishable(raw) && k.UnmarshalJSON(raw) == nil {
			set.add(k)
		}
	}
	if !set.usable() {
		return nil, errNoKeys
	}
	return set, nil
}

// publishable says whether a JWK is what a public set may hold. Where a private
// or secret part is published, anybody may sign with it. It also keeps go-jose
// from the costly checks of private keys, and reads key_ops, which go-jose does
// not.
func publishable(raw json.RawMessage) bool {
	var k struct {
		D      json.RawMessage `json:"d"`
		K      json.RawMessage `json:"k"`
		KeyOps []string        `json:"key_ops"`
	}
	return json.Unmarshal(raw, &k) == nil && k.D == nil && k.K == nil &&
		(k.KeyOps == nil || slices.Contains(k.KeyOps, "verify"))
}

// StaticKeys is a [KeySource] whose keys never change: for tests, and for a
// program that has the issuer's keys at hand.
type StaticKeys struct {
	set keySet
}

// NewStaticKeys returns the keys of set that can verify tokens, public halves
// only, or an error when there is none. The same rules hold as for keys that are
// fetched: a key needs a name (kid), "use" is absent or "sig", RSA has 2048 bits
// or more, and of two keys that fit the same name and algorithm neither is used.
func NewStaticKeys(set jose.JSONWebKeySet) (*StaticKeys, error) {
	keys := make(keySet)
	for _, k := range set.Keys {
		keys.add(k)
	}
	if !keys.usable() {
		return nil, errors.New("oauth: " + errNoKeys.Error())
	}
	return &StaticKeys{keys}, nil
}

// Key implements [KeySource].
func (k *StaticKeys) Key(_ context.Context, kid, alg string) (crypto.PublicKey, error) {
	if key := k.set.key(kid, alg); key != nil {
		return key, nil
	}
	return nil, ErrUnknownKey
}
