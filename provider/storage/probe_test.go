package storage_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

func TestProbe(t *testing.T) {
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	s := openSQLite(t, func() time.Time { return now })
	touched := map[storage.Key]bool{}
	watched := storetest.Faulty(s, func(op storetest.Op) error {
		if op.Key.Kind != "" {
			touched[op.Key] = true
		}
		return nil
	})
	if err := storage.Probe(t.Context(), watched, now); err != nil {
		t.Fatal(err)
	}
	for key := range touched {
		if key.Kind == storage.Counter {
			if n, err := s.Add(t.Context(), key, 0, 0); n != 0 || err != nil {
				t.Errorf("a counter was left behind: %d, %v", n, err)
			}
			continue
		}
		if got, err := s.Get(t.Context(), key); err != nil || !got[0].IsZero() {
			t.Errorf("a record of kind %s was left behind, %v", key.Kind, err)
		}
	}
	if len(touched) != 3 {
		t.Errorf("%d keys were tried, want an account, another record and a counter", len(touched))
	}
}

// A store may be as weak as the contract allows.
func TestProbeAllowsShortPages(t *testing.T) {
	for seed := range uint64(20) {
		s := storetest.WeakConfig{Seed: seed, ShortPages: 1, SlowGets: 1}.Store(openSQLite(t, time.Now))
		if err := storage.Probe(t.Context(), s, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever operation a store cannot do, Probe finds it.
func TestProbeFindsEachOperation(t *testing.T) {
	errNo := errors.New("not allowed")
	for _, name := range []string{"Get", "Put", "Delete", "List", "Add", "Ping"} {
		for _, account := range []bool{true, false} {
			if account && (name == "Add" || name == "Ping" || name == "List") {
				continue
			}
			s := storetest.Faulty(openSQLite(t, time.Now), func(op storetest.Op) error {
				if op.Name == name && (op.Key.Kind == "" || op.Key.Kind.Account() == account) {
					return errNo
				}
				return nil
			})
			if err := storage.Probe(t.Context(), s, time.Now()); !errors.Is(err, errNo) {
				t.Errorf("%s, account %v: Probe = %v", name, account, err)
			}
		}
	}
}
