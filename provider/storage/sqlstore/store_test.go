package sqlstore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

func open(t testing.TB, now func() time.Time) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "store.db"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store { return open(t, now) })
}

// The weakest store that loses no reply still keeps the contract, and the contract
// is what the suite checks: no more.
func TestContractWeakest(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
		return storetest.WeakConfig{Seed: 1, ShortPages: 0.4, SlowGets: 0.5}.Store(open(t, now))
	})
}

func Benchmark(b *testing.B) {
	storetest.Bench(b, func(b *testing.B, now func() time.Time) storage.Store { return open(b, now) })
}
