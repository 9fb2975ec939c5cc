//go:build full

package sqlstore_test

import (
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// What the wrapper takes away is the same on every engine; the default lane looks at
// it on SQLite.
func TestPostgresContractWeakest(t *testing.T) {
	open := inSchemas[*testing.T](t)
	storetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
		return storetest.WeakConfig{Seed: 1, ShortPages: 0.4, SlowGets: 0.5}.Store(open(t, now))
	})
}
