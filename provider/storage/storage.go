// Package storage is the seam between Lettergate and whatever keeps its state.
//
// The contract is small on purpose: one record at a time, replaced only by a
// caller who has seen what it replaces. No transaction spans two keys, so the
// code above it is equally right on SQLite, PostgreSQL, Redis and a Redis
// Cluster. Each flow of the provider has exactly one deciding [Store.Put]; what
// it does before can be repeated, what it does after can be lost safely.
//
// [Update] is the only place that retries a conflict, [Settle] the only place
// that finds out what became of a Put whose answer was lost, and [Scope] the
// only place that names an issuer and checks what comes back. An engine does
// none of the three. Package storetest is the contract as a test suite.
package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits of the contract. An engine refuses what is beyond them with
// [ErrInvalid] and must accept everything within them.
const (
	MaxIDBytes    = 1024             // the ID of a Key, and a group's name
	MaxValueBytes = 1 << 20          // the Value of a Record
	MaxGroups     = 4                // the Groups of a Record
	MaxKeys       = 32               // the keys of one Get
	MaxPage       = 1000             // the records of one List
	MaxSort       = 1<<53 - 1        // the Sort of a Record, either side of 0: what a float64 orders exactly
	MinLife       = time.Millisecond // the life of a counter
)

// Slack is how many bytes more than MaxIDBytes and MaxValueBytes an engine
// accepts, because [Scope] adds to ids, group names and values: callers of a
// scoped Store have the whole limit. The Check methods below are the engines' and
// allow for it.
const Slack = 64

var (
	// ErrConflict says that a Put met another version than the one it was to
	// replace. Nothing was written.
	ErrConflict = errors.New("storage: the record was changed by somebody else")

	// ErrInvalid says that a key, group or record is outside the contract's
	// limits. Nothing was written, and the same call will never succeed.
	ErrInvalid = errors.New("storage: invalid key or record")

	// ErrUnavailable says that the store cannot be reached or does not answer.
	// Unless the call was a read, it may or may not have taken effect.
	ErrUnavailable = errors.New("storage: unavailable")

	// ErrNotDurable comes with ErrUnavailable or ErrUnfit from a call that writes to a
	// store that promises more than one server can: the write may have been made, but
	// not as durably as promised. To find it there proves nothing, so [Settle] does not
	// look.
	ErrNotDurable = errors.New("storage: perhaps written, but not as durably as promised")

	// ErrUnfit says that the store answers but cannot be used: another schema,
	// damaged, read-only. Waiting does not help.
	ErrUnfit = errors.New("storage: unfit for use")

	// ErrCorrupt says that a stored value is not what was written under its key.
	ErrCorrupt = errors.New("storage: a stored value is damaged or belongs to another key")
)

// A Key names one record or one counter.
type Key struct {
	Kind Kind
	ID   string // any bytes, 1 to MaxIDBytes
}

// String returns the key as "kind/id", for messages. It is not an encoding.
func (k Key) String() string { return string(k.Kind) + "/" + k.ID }

// A Version tells two states of one record apart. It is drawn at random by
// whoever writes, so it is never used twice: a writer whose answer was lost can
// read the record again and knows by its version whether it won.
// The zero Version stands for "no record".
type Version [16]byte

// NewVersion draws a fresh version.
func NewVersion() Version {
	var v Version
	rand.Read(v[:]) // crypto/rand.Read never fails
	return v
}

// IsZero reports whether v is the version of an absent record.
func (v Version) IsZero() bool { return v == Version{} }

// A Record is one stored value with what the store needs to know about it.
// The zero Record stands for an absent or expired one.
type Record struct {
	Key Key

	// Groups are the lists that the record appears in, each named once; nil and empty
	// are the same. They are fixed when the record is created: a later Put of the same
	// record repeats them, in the same order, or gets ErrInvalid.
	Groups []string

	// Sort orders the record within its groups. Unlike Groups it may change.
	Sort int64

	Value []byte // at most MaxValueBytes; nil is read as empty

	// Expires is when the record stops existing, by the clock that the engine
	// was opened with. The zero time means never. Engines keep milliseconds.
	Expires time.Time

	// Version is the state's own version. A writer draws it with NewVersion.
	Version Version

	// Prev is read by Put only: the version that is being replaced, zero when
	// the key must hold nothing.
	Prev Version
}

// IsZero reports whether r stands for an absent record.
func (r Record) IsZero() bool { return r.Version.IsZero() }

// A Store keeps records and counters. All methods are safe for concurrent use and
// neither keep nor change the slices they are given; what they return belongs to the
// caller. When ctx is done they return an error that wraps ErrUnavailable and that of
// ctx, and read nothing more of what they were given.
//
// Except for the errors named below, an error means that the store could not do
// it or could not tell whether it did; it then wraps ErrUnavailable where waiting
// may help.
type Store interface {
	// Get returns one Record for each key, in their order, the zero Record for
	// a key that is absent or expired. It is one round trip, but no snapshot:
	// two records may come from two moments. More than MaxKeys keys, and the key
	// of a counter, are ErrInvalid.
	Get(ctx context.Context, keys ...Key) ([]Record, error)

	// Put stores r if the version now stored under r.Key is r.Prev, where an
	// absent or expired record counts as the zero Version; otherwise it returns
	// ErrConflict, whatever the groups are. A Put of a version that is stored already
	// succeeds and changes nothing, so that a resent Put cannot conflict with itself
	// as long as the record lives.
	Put(ctx context.Context, r Record) error

	// Delete removes the record or counter under key, whatever its version.
	// Removing nothing is no error.
	Delete(ctx context.Context, key Key) error

	// List returns the group's records ordered by (Sort, Kind, ID), bytewise, and
	// where the next page begins, "" after the last one. It never misses a record
	// whose Put was acknowledged before List was called and whose Sort did not
	// change meanwhile. A page may be shorter than its limit, even empty, though
	// more follow. Every page is in order and within After and Until by the Sorts it
	// shows, even while records move. An After that is no [Cursor] is ErrInvalid.
	List(ctx context.Context, group string, page Page) (records []Record, next string, err error)

	// Add adds delta to the counter under key and returns its value. An absent
	// counter is created with the given life, which later calls do not extend;
	// when it is over, the counter is absent again. On an absent counter a delta
	// of zero or less creates nothing and returns 0. A counter never goes below 0,
	// and one that was brought to 0 keeps its life; sums are exact, and those beyond
	// int64 stay at its largest value. A key of another kind, and a
	// positive delta with a life below MinLife, are ErrInvalid.
	Add(ctx context.Context, key Key, delta int64, life time.Duration) (int64, error)

	// Ping reports whether the store can be used now.
	Ping(ctx context.Context) error

	// Close releases what the store holds. Calls after Close fail.
	Close() error
}

// Check returns ErrInvalid, saying what is wrong, unless the key is within the
// contract's limits. Engines call it; it costs no allocation on success.
func (k Key) Check() error {
	switch {
	case !k.Kind.known():
		return fmt.Errorf("%w: unknown kind %q", ErrInvalid, string(k.Kind))
	case k.ID == "":
		return fmt.Errorf("%w: empty id of kind %s", ErrInvalid, k.Kind)
	case len(k.ID) > MaxIDBytes+Slack:
		return fmt.Errorf("%w: id of %d bytes, kind %s", ErrInvalid, len(k.ID), k.Kind)
	}
	return nil
}

// Check returns ErrInvalid, saying what is wrong, unless r can be Put.
func (r Record) Check() error {
	if err := r.Key.Check(); err != nil {
		return err
	}
	switch {
	case r.Key.Kind == Counter:
		return fmt.Errorf("%w: a counter is not a record", ErrInvalid)
	case r.Version.IsZero():
		return fmt.Errorf("%w: %s has no version", ErrInvalid, r.Key.Kind)
	case r.Version == r.Prev:
		return fmt.Errorf("%w: %s repeats the version it replaces", ErrInvalid, r.Key.Kind)
	case len(r.Value) > MaxValueBytes+Slack:
		return fmt.Errorf("%w: value of %d bytes, kind %s", ErrInvalid, len(r.Value), r.Key.Kind)
	case r.Sort > MaxSort || r.Sort < -MaxSort:
		return fmt.Errorf("%w: sort %d, kind %s", ErrInvalid, r.Sort, r.Key.Kind)
	case len(r.Groups) > MaxGroups:
		return fmt.Errorf("%w: %d groups, kind %s", ErrInvalid, len(r.Groups), r.Key.Kind)
	}
	for i, g := range r.Groups {
		if err := CheckGroup(g); err != nil {
			return fmt.Errorf("%w, kind %s", err, r.Key.Kind)
		}
		if slices.Contains(r.Groups[:i], g) {
			return fmt.Errorf("%w: a group named twice, kind %s", ErrInvalid, r.Key.Kind)
		}
	}
	return nil
}

// CheckGroup returns ErrInvalid unless name can be the name of a group. Engines
// call it.
func CheckGroup(name string) error {
	if name == "" || len(name) > MaxIDBytes+Slack {
		return fmt.Errorf("%w: group name of %d bytes", ErrInvalid, len(name))
	}
	return nil
}
