package session

import (
	"context"
	"errors"
	"time"
)

// ErrConflict is the answer of [Store.Put] when the stored version is not the one
// that the caller saw.
var ErrConflict = errors.New("session: the record has changed")

// A Record is what a [Store] keeps of one session. A store does not look into it.
type Record struct {
	// ID names the record. It is worth nothing as a cookie.
	ID string
	// Prev is the version that Put replaces, "" for none. Get leaves it empty.
	Prev string
	// Version is the version that Put stores, drawn by the caller and never used
	// again.
	Version string
	// Groups are the names under which List finds the record, at most three. They
	// are the same in every Put of an ID.
	Groups []string
	// Expires is when the record is gone, by the clock of the apps.
	Expires time.Time
	// Value is sealed: a store cannot read it, and nobody who reads the store can
	// use it.
	Value []byte
}

// A Store keeps sessions where all replicas of an app find them. It is safe for
// concurrent use. [NewMemory] is one for a single process; a table with these
// columns or a hash per record is another. [StoreTest] of package sessiontest says
// whether one is right.
//
// Any error but ErrConflict is an outage: people are told to come back, nobody is
// signed out. A Put whose answer was lost may or may not have happened.
type Store interface {
	// Get returns the record called id, or the zero Record when there is none or it
	// has expired. What an earlier Put or Delete was acknowledged for is seen.
	Get(ctx context.Context, id string) (Record, error)
	// Put stores r if the version that is stored is r.Prev, in one atomic step;
	// otherwise nothing, and the error is ErrConflict. An expired record is none.
	Put(ctx context.Context, r Record) error
	// Delete removes the record, whatever its version. None is no error.
	Delete(ctx context.Context, id string) error
	// List returns the ids of the records in a group, in any order. It may name some
	// that are gone, and misses none whose Put was acknowledged.
	List(ctx context.Context, group string) ([]string, error)
}
