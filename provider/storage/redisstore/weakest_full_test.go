//go:build full

package redisstore_test

import (
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// The weakest store that loses no reply still keeps the contract, and the contract
// is what the suite checks: no more.
// What the wrapper takes away is the same on every engine; the default lane looks at
// it on SQLite.
func TestContractWeakest(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
				return storetest.WeakConfig{Seed: 1, ShortPages: 0.4, SlowGets: 0.5}.Store(open(t, l.url(), now))
			})
		})
	}
}
