package sqlstore

import (
	"bytes"
	"math"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

const (
	selectState = `SELECT version, sort, expires, groups FROM records WHERE kind = $1 AND id = $2`
	insertState = `INSERT INTO records (kind, id, version, sort, expires, groups, value) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	updateState = `UPDATE records SET version = $3, sort = $4, expires = $5, groups = $6, value = $7 WHERE kind = $1 AND id = $2`
	deleteState = `DELETE FROM records WHERE kind = $1 AND id = $2`

	insertMember = `INSERT INTO members (name, sort, kind, id) VALUES ($1, $2, $3, $4)`
	deleteMember = `DELETE FROM members WHERE name = $1 AND sort = $2 AND kind = $3 AND id = $4`

	selectCounter = `SELECT value, expires FROM counters WHERE id = $1`
	insertCounter = `INSERT INTO counters (id, value, expires) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET value = excluded.value, expires = excluded.expires`
	updateCounter = `UPDATE counters SET value = $2 WHERE id = $1`
	deleteCounter = `DELETE FROM counters WHERE id = $1`
)

// A state is what a write has to know of the record that is stored.
type state struct {
	exists  bool // expired or not
	version storage.Version
	sort    int64
	expires *int64 // Unix milliseconds, nil is never
	groups  []byte
}

// live reports whether there is a record at the given time.
func (s state) live(now int64) bool {
	return s.exists && (s.expires == nil || *s.expires > now)
}

func (tx *transaction) state(kind storage.Kind, id []byte) (state, error) {
	var s state
	var version []byte
	var err error
	s.exists, err = tx.row(selectState, []any{string(kind), id}, &version, &s.sort, &s.expires, &s.groups)
	copy(s.version[:], version)
	return s, err
}

// leave takes the record out of its groups.
func (tx *transaction) leave(kind storage.Kind, id, groups []byte, sort int64) error {
	for name := range eachGroup(groups) {
		if err := tx.exec(deleteMember, name, sort, string(kind), id); err != nil {
			return err
		}
	}
	return nil
}

// join puts the record into its groups.
func (tx *transaction) join(kind storage.Kind, id, groups []byte, sort int64) error {
	for name := range eachGroup(groups) {
		if err := tx.exec(insertMember, name, sort, string(kind), id); err != nil {
			return err
		}
	}
	return nil
}

// newPut returns the operation that puts r. It copies what the caller may change
// once Put has returned, which may be before the operation runs.
func newPut(r storage.Record) operation {
	id, groups := []byte(r.Key.ID), appendGroups(make([]byte, 0), r.Groups)
	value := append(make([]byte, 0, len(r.Value)), r.Value...) // never nil: that would be NULL
	return func(tx *transaction) (int64, error) {
		cur, err := tx.state(r.Key.Kind, id)
		if err != nil {
			return 0, err
		}
		write := insertState
		if cur.exists {
			write = updateState
		}
		moved := true
		switch {
		case cur.live(tx.now) && cur.version == r.Version:
			return 0, nil // this very Put, resent
		case cur.live(tx.now) && cur.version != r.Prev, !cur.live(tx.now) && !r.Prev.IsZero():
			return 0, storage.ErrConflict
		case cur.live(tx.now) && !bytes.Equal(cur.groups, groups):
			return 0, errGroups
		case cur.live(tx.now):
			moved = cur.sort != r.Sort
		}
		if cur.exists && moved {
			if err := tx.leave(r.Key.Kind, id, cur.groups, cur.sort); err != nil {
				return 0, err
			}
		}
		if err := tx.exec(write, string(r.Key.Kind), id, r.Version[:], r.Sort, millis(r.Expires), groups, value); err != nil {
			return 0, err
		}
		if moved {
			return 0, tx.join(r.Key.Kind, id, groups, r.Sort)
		}
		return 0, nil
	}
}

// deletion removes a record or a counter.
type deletion struct{ key storage.Key }

func (d deletion) apply(tx *transaction) (int64, error) {
	id := []byte(d.key.ID)
	if d.key.Kind == storage.Counter {
		return 0, tx.exec(deleteCounter, id)
	}
	cur, err := tx.state(d.key.Kind, id)
	if err != nil || !cur.exists {
		return 0, err
	}
	if err := tx.leave(d.key.Kind, id, cur.groups, cur.sort); err != nil {
		return 0, err
	}
	return 0, tx.exec(deleteState, string(d.key.Kind), id)
}

// addition changes a counter.
type addition struct {
	id    []byte
	delta int64
	life  time.Duration
}

func (a addition) apply(tx *transaction) (int64, error) {
	var value, expires int64
	exists, err := tx.row(selectCounter, []any{a.id}, &value, &expires)
	if err != nil {
		return 0, err
	}
	if !exists || expires <= tx.now {
		if a.delta <= 0 {
			return 0, nil
		}
		return a.delta, tx.exec(insertCounter, a.id, a.delta, tx.now+a.life.Milliseconds())
	}
	sum := value + a.delta
	switch {
	case a.delta > 0 && sum < value:
		sum = math.MaxInt64
	case sum < 0:
		sum = 0
	}
	if sum == value {
		return sum, nil
	}
	return sum, tx.exec(updateCounter, a.id, sum)
}

// millis returns t as it is stored.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}
