// Package device remembers which devices have signed in to an account, so that
// wrong tries from elsewhere cannot lock its owner out.
//
// Its invariant: a device is known for an identity only after a sign-in of that
// identity from it has succeeded, and what the device calls itself is kept
// nowhere. A device's id is a secret of the device: whoever knows it has the
// larger budget of tries, and nothing else.
package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

const (
	idPurpose       secrets.Purpose = "device id"
	identityPurpose secrets.Purpose = "device identity"
)

const (
	// minID and maxID bound what counts as the id of a device: shorter ones can be
	// guessed.
	minID, maxID = 16, 128

	// maxIdentities is how many people one device is remembered for. The one who has
	// not signed in for longest is forgotten.
	maxIdentities = 8

	// life is how long a device is remembered without a sign-in.
	life = 180 * 24 * time.Hour

	// renew is how old a record gets before a sign-in writes it again.
	renew = 7 * 24 * time.Hour
)

// Config is what New needs. Store and Secrets are required.
type Config struct {
	Store   storage.Store
	Secrets *secrets.Ring
	Now     func() time.Time // default time.Now
}

// Devices remembers devices. It is safe for concurrent use.
type Devices struct{ cfg Config }

// New returns a Devices. It starts nothing.
func New(cfg Config) (*Devices, error) {
	if cfg.Store == nil || cfg.Secrets == nil {
		return nil, errors.New("device: no store or no secrets")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Devices{cfg}, nil
}

// record is the value of device/<pseudonym of the id>.
type record struct {
	V          int      `json:"v"`
	Identities []string `json:"identities"` // pseudonyms, the last to sign in first
	Seen       int64    `json:"seen"`       // unix seconds
}

const recordVersion = 1

// Key is where the device's record is, to be read together with others. What is
// no id of a device leads to a record that is never there, at the same cost.
func (d *Devices) Key(id string) storage.Key {
	name := "nobody"
	if valid(id) {
		name = d.cfg.Secrets.Pseudonym(idPurpose, id)
	}
	return storage.Key{Kind: storage.Device, ID: name}
}

func valid(id string) bool { return len(id) >= minID && len(id) <= maxID }

// Known reports whether the record at Key says that the identity has signed in on
// the device. An unreadable record says nothing.
func (d *Devices) Known(r storage.Record, identity string) bool {
	v, ok := decode(r)
	return ok && slices.Contains(v.Identities, d.cfg.Secrets.Pseudonym(identityPurpose, identity))
}

func decode(r storage.Record) (v record, ok bool) {
	if r.IsZero() {
		return record{}, false
	}
	err := json.Unmarshal(r.Value, &v)
	return v, err == nil && v.V == recordVersion
}

// Remember notes that the identity has signed in on the device. It writes only
// what is news. A failure costs the person no more than the larger budget.
func (d *Devices) Remember(ctx context.Context, id, identity string) error {
	if !valid(id) {
		return nil
	}
	name, now := d.cfg.Secrets.Pseudonym(identityPurpose, identity), d.cfg.Now()
	_, err := storage.Update(ctx, d.cfg.Store, d.Key(id), func(cur storage.Record) (storage.Record, error) {
		v, _ := decode(cur)
		if len(v.Identities) > 0 && v.Identities[0] == name && now.Sub(time.Unix(v.Seen, 0)) < renew {
			return cur, storage.ErrKeep
		}
		v.V, v.Seen = recordVersion, now.Unix()
		v.Identities = slices.DeleteFunc(v.Identities, func(other string) bool { return other == name })
		v.Identities = slices.Insert(v.Identities, 0, name)
		v.Identities = v.Identities[:min(len(v.Identities), maxIdentities)]
		value, err := json.Marshal(v)
		if err != nil {
			return cur, err
		}
		return storage.Record{Key: cur.Key, Value: value, Expires: now.Add(life)}, nil
	})
	if err != nil {
		return fmt.Errorf("remember a device: %w", err)
	}
	return nil
}
