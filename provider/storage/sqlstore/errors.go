package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lettergate/lettergate/provider/storage"
)

// errClosed is what calls after Close get.
var errClosed = fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)

// ended is the error of a call whose ctx is done.
func ended(ctx context.Context) error {
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, ctx.Err())
}

// fault turns an error of the database into one of the contract. The text of the
// database names tables and files, never what is stored.
func fault(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrInvalid),
		errors.Is(err, storage.ErrUnfit), errors.Is(err, storage.ErrUnavailable):
		return err
	case ctx.Err() != nil:
		// The database then says "interrupted", or what it was doing when it was.
		return ended(ctx)
	case errors.Is(err, sql.ErrConnDone):
		return errClosed
	case permanent(err):
		return fmt.Errorf("%w: %w", storage.ErrUnfit, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}

func closeDB(db *sql.DB) error {
	if db == nil {
		return nil
	}
	return db.Close()
}
