package sqlstore

import (
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// What the contract refuses, and package storage has no Check for.

func checkGet(keys []storage.Key) error {
	if len(keys) > storage.MaxKeys {
		return fmt.Errorf("%w: get of %d keys", storage.ErrInvalid, len(keys))
	}
	for _, k := range keys {
		if err := k.Check(); err != nil {
			return err
		}
		if k.Kind == storage.Counter {
			return fmt.Errorf("%w: a counter is not a record", storage.ErrInvalid)
		}
	}
	return nil
}

func checkAdd(key storage.Key, delta int64, life time.Duration) error {
	if err := key.Check(); err != nil {
		return err
	}
	if key.Kind != storage.Counter {
		return fmt.Errorf("%w: add to kind %s", storage.ErrInvalid, key.Kind)
	}
	if delta > 0 && life < storage.MinLife {
		return fmt.Errorf("%w: counter with a life of %v", storage.ErrInvalid, life)
	}
	return nil
}
