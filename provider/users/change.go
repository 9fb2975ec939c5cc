package users

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

func (d *directory) Update(ctx context.Context, u User) (User, error) {
	if err := u.Check(); err != nil {
		return User{}, fmt.Errorf("update user: %w", err)
	}
	a, err := d.account(ctx, u.Subject)
	switch {
	case err != nil:
		return User{}, fmt.Errorf("update user: %w", err)
	case !a.complete():
		return User{}, fmt.Errorf("update user: %w", ErrNotFound)
	case a.user().Version != u.Version:
		return User{}, fmt.Errorf("update user: %w", ErrConflict)
	}
	changed, err := d.change(ctx, a, u)
	if err != nil {
		return User{}, fmt.Errorf("update user: %w", err)
	}
	return changed, nil
}

// change replaces exactly a by u.
func (d *directory) change(ctx context.Context, a account, u User) (User, error) {
	next := accountOf(u)
	next.Created, next.Updated = a.Created, d.now().UnixMilli()

	before := a
	added := next.Keys.without(a.Keys)
	if added != (names{}) {
		err := d.look(ctx, u.Subject, added)
		if err == nil {
			a, err = d.want(ctx, a, added)
		}
		if err != nil {
			return User{}, err
		}
	}
	changed, err := d.replace(ctx, a, next, time.Time{}) // the account has its new names here
	if errors.Is(err, ErrConflict) {
		d.tidy(ctx, u.Subject, added)
	}
	if err != nil {
		return User{}, err
	}
	for _, old := range []names{before.Keys, before.Next} {
		d.tidy(ctx, u.Subject, old.without(next.Keys))
	}
	return changed.user(), nil
}

// want claims further names for a, and returns a as it is then. When one of them
// is taken, it gives the others back.
func (d *directory) want(ctx context.Context, a account, added names) (account, error) {
	wanting := a
	wanting.Next = added
	wanting, err := d.replace(ctx, a, wanting, time.Time{})
	if err != nil {
		return account{}, err
	}
	subject := a.stored.Key.ID
	for _, key := range added.claims() {
		err := d.claim(ctx, key, subject, time.Time{})
		if err == nil {
			continue
		}
		if errors.Is(err, ErrEmailTaken) || errors.Is(err, ErrUsernameTaken) {
			if _, undo := d.replace(ctx, wanting, a, time.Time{}); undo == nil {
				d.tidy(ctx, subject, added)
			}
		}
		return account{}, outcome(err)
	}
	return wanting, nil
}

// tidy releases claims that count for nothing. What it cannot release can be
// taken over by anybody.
func (d *directory) tidy(ctx context.Context, subject string, n names) {
	for _, key := range n.claims() {
		if err := d.release(ctx, key, subject); err != nil {
			d.log.WarnContext(ctx, "an old claim of an account is left over", "kind", string(key.Kind), "sub", subject, "err", err)
		}
	}
}

func (d *directory) Delete(ctx context.Context, subject string) error {
	if subject == "" || len(subject) > maxSubject {
		return nil
	}
	if err := d.delete(ctx, subject); err != nil {
		return fmt.Errorf("delete user: %w", outcome(err))
	}
	return nil
}

func (d *directory) delete(ctx context.Context, subject string) error {
	// The mark keeps the names until their claims are released, so that a repeated
	// Delete can go on.
	r, err := storage.Update(ctx, d.store, userKey(subject), func(cur storage.Record) (storage.Record, error) {
		a, err := openAccount(cur)
		if err != nil {
			return storage.Record{}, err
		}
		if a.Gone {
			return storage.Record{}, storage.ErrKeep
		}
		marked := account{Gone: true, Keys: a.Keys, Next: a.Next, Created: a.Created}
		return marked.record(subject, time.Time{}), nil // the account is gone here
	})
	if err != nil || r.IsZero() {
		return err
	}
	a, err := openAccount(r)
	if err != nil {
		return err
	}
	if a.Keys == (names{}) { // removed completely before
		return nil
	}
	for _, n := range []names{a.Keys, a.Next} {
		for _, key := range n.claims() {
			if err := d.release(ctx, key, subject); err != nil {
				return err
			}
		}
	}
	_, err = d.replace(ctx, a, account{Gone: true, Created: a.Created}, d.now().Add(leftover))
	if errors.Is(err, ErrConflict) { // another Delete was faster
		return nil
	}
	return err
}
