package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// selectPage walks one group in its order. The row comparison is what makes a
// page begin exactly behind the one before, however many have the same sort.
const selectPage = `SELECT r.kind, r.id, r.version, r.sort, r.expires, r.groups, r.value
	FROM members m JOIN records r ON r.kind = m.kind AND r.id = m.id
	WHERE m.name = $1 AND (m.sort, m.kind, m.id) > ($2, $3, $4) AND m.sort <= $5
		AND (r.expires IS NULL OR r.expires > $6)
	ORDER BY m.sort, m.kind, m.id LIMIT $7`

// selectKeys returns the statement that reads n keys, each row with its place.
func selectKeys(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		fmt.Fprintf(&b, "SELECT %d, version, sort, expires, groups, value FROM records WHERE kind = $%d AND id = $%d", i, 2*i+1, 2*i+2)
	}
	return b.String()
}

// Get implements [storage.Store].
func (s *Store) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	if err := checkGet(keys); err != nil {
		return nil, err
	}
	args := make([]any, 0, 2*len(keys))
	for _, k := range keys {
		args = append(args, string(k.Kind), []byte(k.ID))
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	records := make([]storage.Record, len(keys))
	if len(keys) == 0 {
		return records, nil
	}
	stmt, err := s.getStmt(len(keys))
	if err != nil {
		return nil, fault(ctx, err)
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, fault(ctx, err)
	}
	defer rows.Close()
	now := s.now()
	for rows.Next() {
		var i int
		var row row
		if err := rows.Scan(&i, &row.version, &row.sort, &row.expires, &row.groups, &row.value); err != nil {
			return nil, fault(ctx, err)
		}
		if row.expires == nil || *row.expires > now.UnixMilli() {
			records[i] = row.record(keys[i])
		}
	}
	return records, fault(ctx, rows.Err())
}

// getStmt returns the prepared statement for n keys. Few of them are ever needed.
func (s *Store) getStmt(n int) (*sql.Stmt, error) {
	s.getsMu.Lock()
	defer s.getsMu.Unlock()
	if s.gets[n] == nil {
		// Not the caller's ctx: the statement is for everybody. A failure is not kept.
		stmt, err := s.read.PrepareContext(context.Background(), selectKeys(n))
		if err != nil {
			return nil, err
		}
		s.gets[n] = stmt
	}
	return s.gets[n], nil
}

// List implements [storage.Store].
func (s *Store) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	if err := storage.CheckGroup(group); err != nil {
		return nil, "", err
	}
	after, until, limit, err := page.Check()
	if err != nil {
		return nil, "", err
	}
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	rows, err := s.pages.QueryContext(ctx, []byte(group), after.Sort, string(after.Kind), []byte(after.ID), until, s.now().UnixMilli(), limit)
	if err != nil {
		return nil, "", fault(ctx, err)
	}
	defer rows.Close()
	records := make([]storage.Record, 0, min(limit, storage.DefaultPage))
	for rows.Next() {
		var key storage.Key
		var row row
		if err := rows.Scan(&key.Kind, &key.ID, &row.version, &row.sort, &row.expires, &row.groups, &row.value); err != nil {
			return nil, "", fault(ctx, err)
		}
		records = append(records, row.record(key))
	}
	if err := rows.Err(); err != nil {
		return nil, "", fault(ctx, err)
	}
	return records, nextPage(records, limit), nil
}

// nextPage returns where the page behind records begins. A full page may be the
// last.
func nextPage(records []storage.Record, limit int) string {
	if len(records) < limit {
		return ""
	}
	return storage.CursorOf(records[limit-1]).String()
}

// A row is a record as it is stored.
type row struct {
	version []byte
	sort    int64
	expires *int64
	groups  []byte
	value   []byte
}

func (r row) record(key storage.Key) storage.Record {
	rec := storage.Record{Key: key, Groups: groupNames(r.groups), Sort: r.sort, Value: r.value}
	copy(rec.Version[:], r.version)
	if r.expires != nil {
		rec.Expires = time.UnixMilli(*r.expires).UTC()
	}
	return rec
}
