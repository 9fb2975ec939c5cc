package keys

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// The set is sealed for this purpose and bound to its key in the store.
const (
	purpose = secrets.Purpose("signing keys")
	setID   = "set"
	version = 1
)

func setKey() storage.Key { return storage.Key{Kind: storage.Keys, ID: setID} }

// set is all keys of an issuer, by algorithm.
type set struct {
	slots map[string]slot
}

// slot is the keys of one algorithm.
type slot struct {
	next, current *key
	previous      *key      // nil before the first rotation
	since         time.Time // since when current signs
}

// begin adds the first keys of an algorithm. The current one signs at once,
// because there is none that could until it is known.
func (s *set) begin(alg string, fresh maker, now time.Time) error {
	current, err := fresh.key(alg, "current", now)
	if err != nil {
		return err
	}
	next, err := fresh.key(alg, "next", now)
	if err != nil {
		return err
	}
	s.slots[alg] = slot{next: next, current: current, since: now}
	return nil
}

// rotate moves the keys of the given algorithms a step on.
func (s *set) rotate(algs []string, fresh maker, now time.Time) error {
	for _, alg := range algs {
		next, err := fresh.key(alg, "next", now)
		if err != nil {
			return err
		}
		old := s.slots[alg]
		s.slots[alg] = slot{next: next, current: old.next, previous: old.current, since: now}
	}
	return nil
}

// all returns the keys by algorithm, the current one of each first.
func (s *set) all() []*key {
	var list []*key
	for _, alg := range slices.Sorted(maps.Keys(s.slots)) {
		slot := s.slots[alg]
		list = append(list, slot.current, slot.next)
		if slot.previous != nil {
			list = append(list, slot.previous)
		}
	}
	return list
}

// maker makes keys, and the same ones again when a change is tried again: an RSA
// key takes a good part of a second.
type maker map[string]*key

func (m maker) key(alg, place string, now time.Time) (*key, error) {
	id := alg + "/" + place
	if m[id] == nil {
		private, err := generate(alg)
		if err != nil {
			return nil, err
		}
		if m[id], err = newKey(alg, private, now); err != nil {
			return nil, err
		}
	}
	k := *m[id]
	k.published = now
	return &k, nil
}

// sealedSet is the value of keys/set. KID is outside the seal, so that an operator
// can be told which secret is missing.
type sealedSet struct {
	V      int    `json:"v"`
	KID    string `json:"kid"`
	Sealed []byte `json:"sealed"`
}

// storedSet is what is sealed.
type storedSet struct {
	V     int                   `json:"v"`
	Slots map[string]storedSlot `json:"algs"`
}

type storedSlot struct {
	Next     storedKey  `json:"next"`
	Current  storedKey  `json:"current"`
	Previous *storedKey `json:"previous,omitempty"`
	Since    time.Time  `json:"since"`
}

type storedKey struct {
	KID       string    `json:"kid"`
	Published time.Time `json:"published"`
	PKCS8     []byte    `json:"pkcs8"`
}

// Format writes the id and never the key.
func (k storedKey) Format(w fmt.State, _ rune) { fmt.Fprint(w, "key ", k.KID) }

// LogValue returns the id.
func (k storedKey) LogValue() slog.Value { return slog.StringValue(k.KID) }

// seal returns the value to store.
func (s *set) seal(with *secrets.Ring) ([]byte, error) {
	out := storedSet{V: version, Slots: map[string]storedSlot{}}
	for alg, from := range s.slots {
		var to storedSlot
		var err error
		to.Since = from.since.UTC()
		if to.Next, err = from.next.store(); err != nil {
			return nil, err
		}
		if to.Current, err = from.current.store(); err != nil {
			return nil, err
		}
		if from.previous != nil {
			previous, err := from.previous.store()
			if err != nil {
				return nil, err
			}
			to.Previous = &previous
		}
		out.Slots[alg] = to
	}
	plain, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode keys: %w", err)
	}
	return json.Marshal(sealedSet{V: version, KID: with.Current(), Sealed: with.Seal(purpose, plain, []byte(setID))})
}

// openSet reads what seal made, and the id of the secret it was sealed with. An
// absent record is an empty set.
func openSet(with *secrets.Ring, r storage.Record) (s *set, sealedWith string, err error) {
	s = &set{slots: map[string]slot{}}
	if r.IsZero() {
		return s, "", nil
	}
	var outer sealedSet
	if err := json.Unmarshal(r.Value, &outer); err != nil {
		return nil, "", fmt.Errorf("%w: not a key set", storage.ErrCorrupt)
	}
	if outer.V != version {
		return nil, "", fmt.Errorf("%w: a key set of format %d", storage.ErrUnfit, outer.V)
	}
	if !with.Has(outer.KID) {
		return nil, "", fmt.Errorf("%w: the key set is sealed with secret %q, which is not listed", storage.ErrUnfit, outer.KID)
	}
	plain, err := with.Open(purpose, outer.Sealed, []byte(setID))
	if err != nil {
		return nil, "", fmt.Errorf("%w: secret %q does not open the key set: the set is damaged, or the secret has another value than before", storage.ErrUnfit, outer.KID)
	}
	var inner storedSet
	if err := json.Unmarshal(plain, &inner); err != nil || inner.V != version { // the cause could quote a key
		return nil, "", fmt.Errorf("%w: a sealed key set of format %d", storage.ErrUnfit, inner.V)
	}
	for alg, from := range inner.Slots {
		if s.slots[alg], err = openSlot(alg, from); err != nil {
			return nil, "", err
		}
	}
	return s, outer.KID, nil
}

func openSlot(alg string, from storedSlot) (slot, error) {
	to := slot{since: from.Since}
	var err error
	if to.next, err = openKey(alg, from.Next); err != nil {
		return slot{}, err
	}
	if to.current, err = openKey(alg, from.Current); err != nil {
		return slot{}, err
	}
	if from.Previous != nil {
		if to.previous, err = openKey(alg, *from.Previous); err != nil {
			return slot{}, err
		}
	}
	return to, nil
}
