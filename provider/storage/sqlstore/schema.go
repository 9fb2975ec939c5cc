package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lettergate/lettergate/provider/storage"
)

// migrations lead from an empty database to the present schema, one transaction
// for all that are missing. Each is written for both databases, with the same
// tables and columns. Never change one that was released: append.
//
// Ids, groups and values are bytes and never compared as text. Times are Unix
// milliseconds, NULL is never.
var migrations = [...]struct{ sqlite, postgres string }{
	{sqliteSchema1, postgresSchema1},
}

const sqliteSchema1 = `
CREATE TABLE records (
	kind    TEXT    NOT NULL,
	id      BLOB    NOT NULL,
	version BLOB    NOT NULL,
	sort    INTEGER NOT NULL,
	expires INTEGER,
	groups  BLOB    NOT NULL, -- each group's length, as a varint, and name
	value   BLOB    NOT NULL,
	PRIMARY KEY (kind, id)
);
CREATE INDEX records_by_expiry ON records (expires) WHERE expires IS NOT NULL;

CREATE TABLE members (
	name BLOB    NOT NULL, -- of the group
	sort INTEGER NOT NULL,
	kind TEXT    NOT NULL,
	id   BLOB    NOT NULL,
	PRIMARY KEY (name, sort, kind, id)
) WITHOUT ROWID;

CREATE TABLE counters (
	id      BLOB    NOT NULL PRIMARY KEY,
	value   INTEGER NOT NULL,
	expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX counters_by_expiry ON counters (expires);`

const (
	createMigrations = `CREATE TABLE migrations (version INTEGER NOT NULL PRIMARY KEY, applied INTEGER NOT NULL)`
	insertMigration  = `INSERT INTO migrations (version, applied) VALUES ($1, $2)`

	selectSchemaVersion = `SELECT coalesce(max(version), 0) FROM migrations`
)

// knownSchema returns ErrUnfit for a version that this program does not know.
func knownSchema(version int) error {
	if version > len(migrations) {
		return fmt.Errorf("%w: it has schema version %d, made by a newer Lettergate; this one knows %d", storage.ErrUnfit, version, len(migrations))
	}
	return nil
}

// migrate brings the schema up to date, or makes it in an empty database.
func migrate(ctx context.Context, conn *sql.Conn, now int64) (err error) {
	// Has an effect before the first table only: lets the file shrink.
	if _, err := conn.ExecContext(ctx, "PRAGMA auto_vacuum=INCREMENTAL"); err != nil {
		return err
	}
	// The lock comes before the look, so that two processes can start at once.
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, undo := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(err, undo)
		}
	}()
	version, err := schemaVersion(ctx, conn)
	if err != nil {
		return err
	}
	if version == 0 {
		if _, err := conn.ExecContext(ctx, createMigrations); err != nil {
			return err
		}
	}
	for i := version; i < len(migrations); i++ {
		if _, err := conn.ExecContext(ctx, migrations[i].sqlite); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", i+1, err)
		}
		if _, err := conn.ExecContext(ctx, insertMigration, i+1, now); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", i+1, err)
		}
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}

// schemaVersion returns 0 for an empty file, and ErrUnfit for one that somebody
// else filled or that lost its schema.
func schemaVersion(ctx context.Context, conn *sql.Conn) (int, error) {
	var ours, pages int
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'").Scan(&ours); err != nil {
		return 0, err
	}
	if ours == 0 {
		if err := conn.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
			return 0, err
		}
		if pages > 1 { // the first is there as soon as the transaction is
			return 0, fmt.Errorf("%w: the file holds something else, or has lost its schema; restore it from a backup or name another file", storage.ErrUnfit)
		}
		return 0, nil
	}
	var version int
	if err := conn.QueryRowContext(ctx, selectSchemaVersion).Scan(&version); err != nil {
		return 0, err
	}
	if version == 0 {
		return 0, fmt.Errorf("%w: its list of migrations is empty", storage.ErrUnfit)
	}
	return version, knownSchema(version)
}
