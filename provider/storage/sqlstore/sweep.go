package sqlstore

import (
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Garbage is what expired at least sweepAge ago: long enough that clocks of
// several processes which differ a little never disagree about it. The writer
// collects it between calls, a slice at a time, so that no call waits long.
const (
	sweepAge   = 5 * time.Minute
	sweepEvery = time.Minute           // from a write to the next look
	sweepPause = 10 * time.Millisecond // between two slices, for the calls
	sweepRows  = 64                    // the size of a slice
	sweepBytes = 256 << 10             // of values in it: freeing them takes time too

	// Emptied pages are used again. Only when they are more than half of the
	// file are they given back, some at a time.
	vacuumPages = 256
)

const (
	selectGarbage         = `SELECT kind, id, sort, groups, length(value) FROM records WHERE expires <= $1 ORDER BY expires LIMIT $2`
	deleteGarbageCounters = `DELETE FROM counters WHERE id IN (SELECT id FROM counters WHERE expires <= $1 LIMIT $2)`
	countGarbageCounters  = `SELECT count(*) FROM (SELECT 1 FROM counters WHERE expires <= $1 LIMIT $2)`
)

// garbage is one record to be collected.
type garbage struct {
	kind       storage.Kind
	id, groups []byte
	sort, size int64
}

// sweep collects one slice and reports whether there may be more.
func (w *writer) sweep() (more bool) {
	err := w.transact(false, func(tx *transaction) error {
		before := tx.now - sweepAge.Milliseconds()
		found, err := tx.garbage(before)
		if err != nil {
			return err
		}
		var bytes int64
		for _, g := range found {
			if bytes > sweepBytes {
				break
			}
			bytes += g.size
			if err := tx.leave(g.kind, g.id, g.groups, g.sort); err != nil {
				return err
			}
			if err := tx.exec(deleteState, string(g.kind), g.id); err != nil {
				return err
			}
		}
		var counters int
		if _, err := tx.row(countGarbageCounters, []any{before, sweepRows}, &counters); err != nil {
			return err
		}
		if counters > 0 {
			if err := tx.exec(deleteGarbageCounters, before, sweepRows); err != nil {
				return err
			}
		}
		more = len(found) == sweepRows || bytes > sweepBytes || counters == sweepRows
		if !more {
			more, err = tx.shrink()
		}
		return err
	})
	if err != nil {
		// It stays where it is until the next look.
		w.logger.Warn("garbage in store was not collected", "err", err)
		return false
	}
	return more
}

func (tx *transaction) garbage(before int64) ([]garbage, error) {
	s, err := tx.w.stmt(selectGarbage)
	if err != nil {
		return nil, err
	}
	rows, err := s.Query(before, sweepRows)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []garbage
	for rows.Next() {
		var g garbage
		if err := rows.Scan(&g.kind, &g.id, &g.sort, &g.groups, &g.size); err != nil {
			return nil, err
		}
		found = append(found, g)
	}
	return found, rows.Err()
}

// shrink gives some empty pages back and reports whether there may be more.
func (tx *transaction) shrink() (more bool, err error) {
	var free, all int64
	if _, err := tx.row("PRAGMA freelist_count", nil, &free); err != nil {
		return false, err
	}
	if _, err := tx.row("PRAGMA page_count", nil, &all); err != nil {
		return false, err
	}
	if free <= all/2 || free <= vacuumPages {
		return false, nil
	}
	return true, tx.exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumPages))
}
