package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// openAt opens the store at path, to be closed by the caller.
func openAt(t testing.TB, path string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// raw opens the file behind the store's back.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func execute(t testing.TB, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func record(id, value string, groups ...string) storage.Record {
	return storage.Record{
		Key: storage.Key{Kind: storage.Grant, ID: id}, Groups: groups, Value: []byte(value), Version: storage.NewVersion(),
	}
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	// A name that means something in a URI must not.
	path := filepath.Join(t.TempDir(), "new", "deep", "odd ?mode=ro&x=%41#name.db")
	s := openAt(t, path)
	if err := s.Put(t.Context(), record("a", "1")); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	err := filepath.WalkDir(filepath.Dir(filepath.Dir(path)), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want && runtime.GOOS != "windows" {
			t.Errorf("%s has permissions %04o, want %04o", d.Name(), info.Mode().Perm(), want)
		}
		names[d.Name()] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if !names[filepath.Base(path)+suffix] {
			t.Errorf("no file %q among %v", filepath.Base(path)+suffix, names)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openAt(t, path); s.Close() != nil {
		t.Error("cannot be closed again")
	}
}

func TestOpenRefuses(t *testing.T) {
	made := func(t *testing.T, path string) {
		s := openAt(t, path)
		for i := range 200 {
			if err := s.Put(t.Context(), record(strings.Repeat("i", i+1), strings.Repeat("v", 1000))); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write := func(t *testing.T, path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		says    string
	}{
		"a file that others may read": {func(t *testing.T, path string) {
			made(t, path)
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
		}, "chmod 600"},
		"a directory": {func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "directory"},
		"a file that is no database": {func(t *testing.T, path string) {
			write(t, path, strings.Repeat("issuer: https://id.example\n", 500))
		}, "not a database"},
		"somebody else's database": {func(t *testing.T, path string) {
			write(t, path, "")
			db := raw(t, path)
			execute(t, db, "CREATE TABLE songs (title TEXT)")
			db.Close()
		}, "something else"},
		"a newer schema": {func(t *testing.T, path string) {
			made(t, path)
			db := raw(t, path)
			execute(t, db, "INSERT INTO migrations (version, applied) VALUES (1000, 0)")
			db.Close()
		}, "newer Lettergate"},
		"a lost schema": {func(t *testing.T, path string) {
			made(t, path)
			db := raw(t, path)
			execute(t, db, "DROP TABLE migrations")
			db.Close()
		}, "lost its schema"},
		"a lost list of migrations": {func(t *testing.T, path string) {
			made(t, path)
			db := raw(t, path)
			execute(t, db, "DELETE FROM migrations")
			db.Close()
		}, "migrations"},
		"a destroyed header": {func(t *testing.T, path string) {
			made(t, path)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, 100), 0); err != nil {
				t.Fatal(err)
			}
		}, "not a database"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			c.prepare(t, path)
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
			if err == nil {
				s.Close()
				t.Fatal("Open succeeded")
			}
			if !errors.Is(err, storage.ErrUnfit) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "store.db") {
				t.Errorf("Open = %v; want ErrUnfit with the file's name and %q", err, c.says)
			}
		})
	}
	for _, path := range []string{"", ":memory:"} {
		if _, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path}); !errors.Is(err, storage.ErrUnfit) {
			t.Errorf("Open of %q = %v, want ErrUnfit", path, err)
		}
	}
}

// A file that was cut is found out when it is opened or read, and never panics.
func TestTruncatedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path)
	var keys []storage.Key
	for i := range 100 {
		r := record(strings.Repeat("i", i+1), strings.Repeat("v", 5000), "g")
		keys = append(keys, r.Key)
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 100, 4095, 4096, 5000, 40960, len(whole) / 2, len(whole) - 4096} {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
		for i := 0; err == nil && i < len(keys); i++ {
			_, err = s.Get(t.Context(), keys[i])
		}
		if !errors.Is(err, storage.ErrUnfit) {
			t.Errorf("cut to %d of %d bytes: %v, want ErrUnfit", size, len(whole), err)
		}
		if s != nil {
			s.Close()
		}
	}
}

// A new file that a crash left before the schema was in it is a new file.
func TestOpenAfterCrashAtBirth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path)
	if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
		t.Error(err)
	}
}

func TestOpenTogether(t *testing.T) {
	for range 5 {
		path := filepath.Join(t.TempDir(), "store.db")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func TestOpenWithDoneContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(t.TempDir(), "store.db")})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open = %v", err)
	}
}
