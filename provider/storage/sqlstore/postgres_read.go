package sqlstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/lettergate/lettergate/provider/storage"
)

const (
	// One statement for any number of keys, each row with its place from 1.
	selectMany = `SELECT k.place, r.version, r.sort, r.expires, r.groups, r.value
	FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k (kind, id, place)
	JOIN {schema}.records r ON r.kind = k.kind AND r.id = k.id`

	// As selectPage. Kinds are compared byte by byte, whatever the collation of the
	// database, because the column says so.
	selectGroup = `SELECT r.kind, r.id, r.version, r.sort, r.expires, r.groups, r.value
	FROM {schema}.members m JOIN {schema}.records r ON r.kind = m.kind AND r.id = m.id
	WHERE m.name = $1 AND (m.sort, m.kind, m.id) > ($2, $3, $4) AND m.sort <= $5
		AND (r.expires IS NULL OR r.expires > $6)
	ORDER BY m.sort, m.kind, m.id LIMIT $7`
)

// Get implements [storage.Store].
func (p *Postgres) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	if err := checkGet(keys); err != nil {
		return nil, err
	}
	kinds, ids := make([]string, len(keys)), make([][]byte, len(keys))
	for i, k := range keys {
		kinds[i], ids[i] = string(k.Kind), []byte(k.ID)
	}
	if len(keys) == 0 {
		return []storage.Record{}, p.usable(ctx)
	}
	rows, err := do(ctx, p, func(ctx context.Context, conn *pgx.Conn) ([]placed, error) {
		return readPlaced(conn.Query(ctx, p.text.get, kinds, ids))
	})
	if err != nil {
		return nil, err
	}
	records := make([]storage.Record, len(keys))
	now := p.now().UnixMilli()
	for _, r := range rows {
		if r.expires == nil || *r.expires > now {
			records[r.place-1] = r.record(keys[r.place-1])
		}
	}
	return records, nil
}

// placed is a row with the place of its key.
type placed struct {
	place int
	row
}

func readPlaced(rows pgx.Rows, err error) ([]placed, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []placed
	for rows.Next() {
		var r placed
		if err := rows.Scan(&r.place, &r.version, &r.sort, &r.expires, &r.groups, &r.value); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// List implements [storage.Store].
func (p *Postgres) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	if err := storage.CheckGroup(group); err != nil {
		return nil, "", err
	}
	after, until, limit, err := page.Check()
	if err != nil {
		return nil, "", err
	}
	records, err := do(ctx, p, func(ctx context.Context, conn *pgx.Conn) ([]storage.Record, error) {
		return readRecords(conn.Query(ctx, p.text.list, []byte(group), after.Sort, string(after.Kind), []byte(after.ID),
			until, p.now().UnixMilli(), limit))
	})
	if err != nil {
		return nil, "", err
	}
	return records, nextPage(records, limit), nil
}

func readRecords(rows pgx.Rows, err error) ([]storage.Record, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []storage.Record
	for rows.Next() {
		var kind string
		var id []byte
		var r row
		if err := rows.Scan(&kind, &id, &r.version, &r.sort, &r.expires, &r.groups, &r.value); err != nil {
			return nil, err
		}
		all = append(all, r.record(storage.Key{Kind: storage.Kind(kind), ID: string(id)}))
	}
	return all, rows.Err()
}
