package sqlstore

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/lettergate/lettergate/provider/storage"
)

// What the disk was asked for cannot be seen from outside, so this test looks in.
func TestAccountsAreSynced(t *testing.T) {
	put := func(t *testing.T, kinds ...storage.Kind) *writer {
		t.Helper()
		s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "store.db")})
		if err != nil {
			t.Fatal(err)
		}
		for i, kind := range kinds {
			r := storage.Record{Key: storage.Key{Kind: kind, ID: fmt.Sprint(i)}, Version: storage.NewVersion()}
			if err := s.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil { // the writer has ended
			t.Fatal(err)
		}
		return s.writer
	}
	if w := put(t, storage.User); !w.full {
		t.Error("an account was committed without a sync")
	}
	if w := put(t, storage.User, storage.Grant); w.full {
		t.Error("a grant was committed with a sync")
	}
	if w := put(t, storage.Grant, storage.User, storage.Grant, storage.Email); !w.full {
		t.Error("an account was committed without a sync")
	}
}

func FuzzGroups(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendGroups(nil, []string{"g", "h"}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for _, name := range groupNames(b) {
			total += len(name)
		}
		if total > len(b) {
			t.Errorf("%d bytes of names in %d bytes", total, len(b))
		}
	})
}
