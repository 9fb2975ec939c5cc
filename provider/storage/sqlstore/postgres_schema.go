package sqlstore

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/lettergate/lettergate/provider/storage"
)

const (
	// The list of migrations is an ordinary table of the schema; whatever else is
	// there belongs to somebody else when there is no list.
	selectTables = `SELECT count(*) FILTER (WHERE c.relname = 'migrations'), count(*)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`
	selectSchema = `SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1`

	// Of other programs that migrate the same database, none waits for this lock.
	lockMigrations = `SELECT pg_catalog.pg_advisory_xact_lock($1::bigint)`
	// Others may be at it for longer than a call may take.
	patience = `SET LOCAL lock_timeout = '20s'; SET LOCAL statement_timeout = 0`

	postgresMigrations      = `CREATE TABLE {schema}.migrations (version bigint NOT NULL PRIMARY KEY, applied bigint NOT NULL)`
	postgresInsertMigration = `INSERT INTO {schema}.migrations (version, applied) VALUES ($1, $2)`
	postgresSchemaVersion   = `SELECT coalesce(max(version), 0) FROM {schema}.migrations`

	// missingRights lists what the user of the URL needs and is not granted.
	missingRights = `
SELECT t.action || ' on table ' || t.name FROM (VALUES
	('migrations', 'SELECT'),
	('records', 'SELECT'), ('records', 'INSERT'), ('records', 'UPDATE'), ('records', 'DELETE'),
	('members', 'SELECT'), ('members', 'INSERT'), ('members', 'DELETE'),
	('counters', 'SELECT'), ('counters', 'INSERT'), ('counters', 'UPDATE'), ('counters', 'DELETE')
) AS t (name, action) WHERE NOT has_table_privilege('{schema}.' || t.name, t.action)
UNION ALL
SELECT 'EXECUTE on function ' || f.name
FROM (VALUES ('group_names'), ('make_durable'), ('put'), ('remove'), ('sweep')) AS f (name)
LEFT JOIN pg_catalog.pg_proc p ON p.proname = f.name AND p.pronamespace = '{schema}'::regnamespace
WHERE NOT coalesce(has_function_privilege(p.oid, 'EXECUTE'), false)`
)

// in returns the statement for the given schema. It names the schema everywhere
// instead of setting a search_path, which a pooler between us and the server would
// lose or give to somebody else.
func in(schema, statement string) string {
	return strings.ReplaceAll(statement, "{schema}", pgx.Identifier{schema}.Sanitize())
}

// migratePostgres brings the schema up to date, or makes it in a database that has
// none. With a schema that is up to date it needs no right to change it.
func migratePostgres(ctx context.Context, conn *pgx.Conn, schema string, now int64) error {
	version, err := postgresVersion(ctx, conn, schema)
	if err != nil || version == len(migrations) {
		return err
	}
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, patience); err != nil {
			return err
		}
		key := fnv.New64a()
		key.Write([]byte("lettergate/" + schema))
		if _, err := tx.Exec(ctx, lockMigrations, int64(key.Sum64())); err != nil {
			return err
		}
		// Now nobody else is at it. Somebody may have been.
		version, err := postgresVersion(ctx, conn, schema)
		if err != nil {
			return err
		}
		if version == 0 {
			if err := createSchema(ctx, tx, schema); err != nil {
				return err
			}
		}
		for i := version; i < len(migrations); i++ {
			if _, err := tx.Exec(ctx, in(schema, migrations[i].postgres)); err != nil {
				return fmt.Errorf("migrate to schema %d: %w", i+1, err)
			}
			if _, err := tx.Exec(ctx, in(schema, postgresInsertMigration), i+1, now); err != nil {
				return fmt.Errorf("migrate to schema %d: %w", i+1, err)
			}
		}
		return nil
	})
}

// createSchema makes the schema with its list of migrations. An empty one may
// exist, made by somebody with more rights.
func createSchema(ctx context.Context, tx pgx.Tx, schema string) error {
	var exists int
	if err := tx.QueryRow(ctx, selectSchema, schema).Scan(&exists); err != nil {
		return err
	}
	if exists == 0 {
		if _, err := tx.Exec(ctx, in(schema, "CREATE SCHEMA {schema}")); err != nil {
			return fmt.Errorf("there is no schema %q, and it could not be made: %w", schema, err)
		}
	}
	if _, err := tx.Exec(ctx, in(schema, postgresMigrations)); err != nil {
		return fmt.Errorf("make the tables of schema %q: %w", schema, err)
	}
	return nil
}

// postgresVersion returns 0 where there is nothing yet, and ErrUnfit where somebody
// else has been or the schema was lost.
func postgresVersion(ctx context.Context, conn *pgx.Conn, schema string) (int, error) {
	var ours, all int
	if err := conn.QueryRow(ctx, selectTables, schema).Scan(&ours, &all); err != nil {
		return 0, err
	}
	if ours == 0 {
		if all > 0 {
			return 0, fmt.Errorf("%w: schema %q of the database holds something else, or has lost its list of migrations; restore it from a backup or name another schema in the URL", storage.ErrUnfit, schema)
		}
		return 0, nil
	}
	var version int
	if err := conn.QueryRow(ctx, in(schema, postgresSchemaVersion)).Scan(&version); err != nil {
		return 0, err
	}
	if version == 0 {
		return 0, fmt.Errorf("%w: its list of migrations is empty", storage.ErrUnfit)
	}
	return version, knownSchema(version)
}

// checkRights returns ErrUnfit, naming them, when rights are missing.
func checkRights(ctx context.Context, conn *pgx.Conn, schema string) error {
	rows, err := conn.Query(ctx, in(schema, missingRights))
	if err != nil {
		return err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: in schema %q the user of the URL is not granted %s", storage.ErrUnfit, schema, strings.Join(missing, ", "))
	}
	return nil
}
