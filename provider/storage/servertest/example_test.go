package servertest_test

import (
	"log"
	"os"
	"testing"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// One PostgreSQL for all tests of a package: each test makes itself a database
// on it with New. The inner function is the package's TestMain.
func ExampleStartPostgres() {
	var postgres *servertest.Database // of the package
	run := func(m *testing.M) int {
		var err error
		if postgres, err = servertest.StartPostgres(""); err != nil {
			log.Print(err)
			return 1
		}
		defer postgres.Close() // os.Exit would not wait for it
		return m.Run()
	}
	_ = func(m *testing.M) { os.Exit(run(m)) }
}
