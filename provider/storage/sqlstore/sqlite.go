package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/lettergate/lettergate/provider/storage"
)

// What only SQLite has: a file to make, pragmas, result codes.

const (
	busyTimeout = "busy_timeout(800)" // milliseconds: a request never waits a whole second for another process

	smallestFile = 512 // bytes of one page, at its smallest

	walTries = 40
	walPause = 20 * time.Millisecond

	// walLimit bounds what the write-ahead log keeps on disk after a rush.
	walLimit = "journal_size_limit(16777216)"
)

// prepareFile makes sure that there is a file which nobody else can read, and
// returns its absolute path.
func prepareFile(path string) (string, error) {
	if path == "" || path == ":memory:" {
		return "", fmt.Errorf("%w: a path to a file is needed", storage.ErrUnfit)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", storage.ErrUnfit, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("%w: %w", storage.ErrUnfit, err)
	}
	// Opened for writing, so that a read-only file is refused now and not by the
	// first request. SQLite gives its other files the permissions of this one.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("%w: %w", storage.ErrUnfit, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%w: %w", storage.ErrUnfit, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: not a regular file", storage.ErrUnfit)
	}
	if size := info.Size(); size > 0 && size < smallestFile { // SQLite would take it for a new one
		return "", fmt.Errorf("%w: the file is cut to %d bytes; restore it from a backup", storage.ErrUnfit, size)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("%w: its permissions %04o let other users of this machine read it; run chmod 600 %q and change what may have leaked",
			storage.ErrUnfit, perm, path)
	}
	return path, nil
}

// openPool returns connections to the file, none of them opened yet.
func openPool(path string, size int, pragmas ...string) (*sql.DB, error) {
	// mode=rw never creates: a file that vanished is an error, not a new store.
	query := url.Values{"mode": {"rw"}, "_pragma": append([]string{busyTimeout}, pragmas...)}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: query.Encode()}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// openConn returns the writer's connection, to a file with our schema in it.
func openConn(ctx context.Context, db *sql.DB, cfg Config) (*sql.Conn, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	// The schema is made before the file becomes a WAL file, because that writes a
	// header: a crash in between would leave a file that is not empty and not ours.
	err = migrate(ctx, conn, cfg.Now().UnixMilli())
	if err == nil {
		err = useWAL(ctx, conn)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// useWAL makes the file a WAL file, unless it is one. That needs the file for
// itself for a moment, and SQLite does not wait for it as it does for other locks.
func useWAL(ctx context.Context, conn *sql.Conn) error {
	var mode string
	err := conn.QueryRowContext(ctx, "PRAGMA journal_mode=WAL").Scan(&mode)
	for try := 0; try < walTries && code(err) == sqlite3.SQLITE_BUSY; try++ {
		select {
		case <-time.After(walPause):
		case <-ctx.Done():
			return ended(ctx)
		}
		err = conn.QueryRowContext(ctx, "PRAGMA journal_mode=WAL").Scan(&mode)
	}
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("%w: the file system allows no write-ahead log (journal mode %q); it must be a local disk", storage.ErrUnfit, mode)
	}
	return nil
}

// code returns the primary result code of an error of SQLite, 0 for others.
func code(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

// permanent reports whether err is one that waiting does not cure.
func permanent(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM,
		sqlite3.SQLITE_ERROR, // a statement that does not fit the schema
		sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_FORMAT:
		return true
	}
	return false
}

// noTransaction reports whether err is the answer to a ROLLBACK that had nothing
// to roll back. SQLite has no code for it.
func noTransaction(err error) bool {
	return strings.Contains(err.Error(), "no transaction is active")
}
