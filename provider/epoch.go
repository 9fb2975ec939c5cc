package provider

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// epochPoll is the time between two looks at whether the store is still the one it was.
const epochPoll = 30 * time.Second

// An epochWatch notices a store that was emptied or exchanged. Two
// records know each other: deployment/this, kept with the accounts, names the epoch
// that the tokens are in, and epoch/store, kept with the tokens, names the
// deployment they belong to. What a restart cannot remember, the other side does;
// when both are one store, the running process does.
//
// A store that comes back empty has forgotten sign-ins and codes, but also what was
// spent or revoked. Codes and counters vanish together, so nothing can be used twice;
// an operator still has to know.
type epochWatch struct {
	store storage.Store
	log   *slog.Logger
	known string // the epoch that was last seen, "" before the first look
}

// A deployment is the value of deployment/this.
type deployment struct {
	ID    string `json:"id"`
	Epoch string `json:"epoch"` // "" until the first was seen
}

// An epoch is the value of epoch/store.
type epoch struct {
	ID         string `json:"id"`
	Deployment string `json:"deployment"`
}

func deploymentKey() storage.Key { return storage.Key{Kind: storage.Deployment, ID: "this"} }
func epochKey() storage.Key      { return storage.Key{Kind: storage.Epoch, ID: "store"} }

// look compares the two records, makes those that are missing, and says in the log
// what has happened to the store since the last look. It returns ErrUnfit when the
// tokens are another deployment's. One goroutine at a time may call it.
func (w *epochWatch) look(ctx context.Context) error {
	// In this order everywhere: an epoch never names a deployment that is not there yet.
	d, err := makeOnce(ctx, w.store, deploymentKey(), deployment{ID: rand.Text()})
	if err != nil {
		return fmt.Errorf("read the deployment's record: %w", err)
	}
	e, err := makeOnce(ctx, w.store, epochKey(), epoch{ID: rand.Text(), Deployment: d.ID})
	if err != nil {
		return fmt.Errorf("read the store's epoch: %w", err)
	}
	if e.Deployment != d.ID && w.known == e.ID {
		w.log.ErrorContext(ctx, "the deployment's record was lost, with what else was beside it; it is made again", "epoch", e.ID)
		d.ID, d.Epoch = e.Deployment, ""
	}
	if e.Deployment != d.ID {
		return fmt.Errorf("%w: the tokens in it belong to another deployment of this issuer, or to accounts that were lost; give each deployment a store "+
			"of its own, or another prefix in storage.url, and empty this one if its accounts are gone for good", storage.ErrUnfit)
	}
	before := w.known
	if before == "" {
		before = d.Epoch
	}
	if before != "" && before != e.ID {
		w.log.ErrorContext(ctx, "the store was emptied or exchanged: sessions, codes, refresh tokens and revocations of before are gone",
			"epoch", e.ID, "before", before)
	}
	if d.Epoch != e.ID {
		if err := w.note(ctx, d.ID, e.ID); err != nil {
			return fmt.Errorf("note the store's epoch: %w", err)
		}
	}
	w.known = e.ID
	return nil
}

// note keeps the epoch in the deployment's record.
func (w *epochWatch) note(ctx context.Context, id, epoch string) error {
	_, err := storage.Update(ctx, w.store, deploymentKey(), func(cur storage.Record) (storage.Record, error) {
		var d deployment
		if !cur.IsZero() {
			if err := decodeOurs(cur, &d); err != nil {
				return storage.Record{}, err
			}
		}
		if d.Epoch == epoch {
			return storage.Record{}, storage.ErrKeep
		}
		value, err := json.Marshal(deployment{ID: id, Epoch: epoch})
		return storage.Record{Value: value}, err
	})
	return err
}

// run looks every epochPoll until ctx is done.
func (w *epochWatch) run(ctx context.Context) error {
	tick := time.NewTicker(epochPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := w.look(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrUnavailable) {
				w.log.ErrorContext(ctx, "the store is not the one it was", "err", err)
			}
		}
	}
}

// makeOnce returns the value stored under key. Where there is none it stores fresh;
// whoever is first of several decides for all.
func makeOnce[T any](ctx context.Context, s storage.Store, key storage.Key, fresh T) (T, error) {
	var value T
	stored, err := storage.Update(ctx, s, key, func(cur storage.Record) (storage.Record, error) {
		if !cur.IsZero() {
			return storage.Record{}, storage.ErrKeep
		}
		encoded, err := json.Marshal(fresh)
		return storage.Record{Value: encoded}, err
	})
	if err != nil {
		return value, err
	}
	return value, decodeOurs(stored, &value)
}

func decodeOurs(r storage.Record, into any) error {
	if err := json.Unmarshal(r.Value, into); err != nil {
		return fmt.Errorf("%w: kind %s", storage.ErrCorrupt, r.Key.Kind)
	}
	return nil
}
