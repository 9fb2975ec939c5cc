package oauthcore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// errSpent says that something has been used before.
var errSpent = errors.New("it has been used before")

// onceMargin is how much longer than necessary it is remembered what was spent: a
// request that looked at the clock just in time may be slow to get here.
const onceMargin = time.Minute

// spendOnce uses up an id that its owner, a client, may use once before until. Of any
// number of calls one returns nil and the others errSpent. Another error says that it
// cannot be known, and never that the id is good. What is kept is a hash.
func (c *Core) spendOnce(ctx context.Context, use, owner, id string, until time.Time) error {
	sum := sha256.Sum256([]byte(owner + "\x00" + id)) // no client_id has a NUL in it
	record := storage.Record{
		Key:     storage.Key{Kind: storage.Replay, ID: use + "/" + base64.RawURLEncoding.EncodeToString(sum[:])},
		Version: storage.NewVersion(),
		Expires: until.Add(onceMargin),
	}
	err := storage.Settle(ctx, c.store, record)
	switch {
	case err == nil && c.now().Before(record.Expires):
		return nil
	case err == nil: // too late to tell: what was there before may be forgotten by now
		return errSpent
	case errors.Is(err, storage.ErrConflict) || c.spentByAnother(ctx, record):
		return errSpent
	}
	return fmt.Errorf("spend an %s: %w", use, err)
}

// spentByAnother finds out what Settle cannot: nobody replaces such a record, so a
// version that is there and is another's was there before.
func (c *Core) spentByAnother(ctx context.Context, record storage.Record) bool {
	got, err := c.store.Get(ctx, record.Key)
	return err == nil && len(got) == 1 && !got[0].IsZero() && got[0].Version != record.Version
}
