package storage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/provider/storage"
)

func TestCheckAllocatesNothing(t *testing.T) {
	r := storage.Record{
		Key:     storage.Key{Kind: storage.Grant, ID: "id"},
		Groups:  []string{"a", "b"},
		Version: storage.NewVersion(),
	}
	allocs := testing.AllocsPerRun(100, func() {
		if r.Check() != nil {
			t.Fatal("a good record was refused")
		}
	})
	if allocs != 0 {
		t.Errorf("Check allocates %v times", allocs)
	}
}

func TestCheckSaysWhatIsWrongAndNoMore(t *testing.T) {
	long := strings.Repeat("secret", 1000)
	for _, err := range []error{
		storage.Key{Kind: storage.Grant, ID: long}.Check(),
		storage.CheckGroup(long),
		storage.Record{Key: storage.Key{Kind: storage.User, ID: "secret"}}.Check(),
	} {
		if !errors.Is(err, storage.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Check = %.100v, want ErrInvalid without the id", err)
		}
	}
}

func TestVersionsDiffer(t *testing.T) {
	a, b := storage.NewVersion(), storage.NewVersion()
	if a == b || a.IsZero() || !(storage.Version{}).IsZero() {
		t.Errorf("versions %x and %x", a, b)
	}
}
