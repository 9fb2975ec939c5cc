package users

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

const (
	// signUpLife is how long a sign-up may take from its first write to its last.
	signUpLife = time.Hour

	// leftover is how long an emptied record stays before the store forgets it.
	leftover = time.Minute
)

// The steps are numbered as in the package comment.

func (d *directory) Create(ctx context.Context, u User) (User, error) {
	if err := u.Check(); err != nil {
		return User{}, fmt.Errorf("create user: %w", err)
	}
	created, err := d.create(ctx, u)
	if errors.Is(err, ErrUsernameTaken) {
		// By another sign-up of the same person, perhaps: then the address says more.
		if other := d.look(ctx, u.Subject, names{Email: u.EmailKey}); other != nil {
			err = other
		}
	}
	if err != nil {
		return User{}, fmt.Errorf("create user: %w", err)
	}
	return created, nil
}

func (d *directory) create(ctx context.Context, u User) (User, error) {
	want := accountOf(u)
	if err := d.look(ctx, u.Subject, want.Keys); err != nil {
		return User{}, err
	}
	a, err := d.begin(ctx, u.Subject, want, u.CreatedAt) // (1)
	if err != nil {
		return User{}, err
	}
	if a.complete() {
		return a.user(), nil
	}
	err = d.claimAll(ctx, a)
	if errors.Is(err, ErrEmailTaken) || errors.Is(err, ErrUsernameTaken) {
		d.abandon(ctx, a)
	}
	var done User
	if err == nil {
		done, err = d.finish(ctx, a) // (4)
	}
	if errors.Is(err, ErrConflict) {
		done, err = d.overtaken(ctx, a)
	}
	if errors.Is(err, ErrNotFound) {
		// The record has expired, or whoever wanted its username has found its address
		// taken.
		d.tidy(ctx, u.Subject, a.Keys)
		if err := d.look(ctx, u.Subject, a.Keys); err != nil {
			return User{}, err
		}
		return User{}, ErrConflict
	}
	return done, err
}

// look returns ErrEmailTaken or ErrUsernameTaken for most names that are taken,
// before anything is written.
func (d *directory) look(ctx context.Context, subject string, n names) error {
	claims := n.claims()
	got, err := d.store.Get(ctx, claims...)
	if err != nil {
		return err
	}
	for i := len(claims) - 1; i >= 0; i-- { // the address first
		other, err := holder(got[i])
		if err != nil {
			return err
		}
		if other == "" || other == subject {
			continue
		}
		if err := d.vacate(ctx, claims[i], other); err != nil {
			return outcome(err)
		}
	}
	return nil
}

// begin writes the record of a sign-up, or returns the one that is there for the
// same subject and names, so that a repeated sign-up completes the first.
func (d *directory) begin(ctx context.Context, subject string, want account, created time.Time) (account, error) {
	r, err := storage.Update(ctx, d.store, userKey(subject), func(cur storage.Record) (storage.Record, error) {
		a, err := openAccount(cur)
		switch {
		case err != nil:
			return storage.Record{}, err
		case a.Gone && !cur.IsZero() && cur.Expires.IsZero():
			return storage.Record{}, fmt.Errorf("%w: the subject is being removed", ErrConflict)
		case a.Gone: // absent, or what is left of a sign-up that failed
		case a.Keys.Email != want.Keys.Email:
			return storage.Record{}, fmt.Errorf("%w: the subject has another address", ErrConflict)
		case a.complete() || a.Keys == want.Keys:
			return storage.Record{}, storage.ErrKeep
		}
		next := want
		now := d.now()
		if created.IsZero() {
			created = now
		}
		next.Created, next.Updated = created.UnixMilli(), now.UnixMilli()
		return next.record(subject, now.Add(signUpLife)), nil
	})
	if err != nil {
		return account{}, outcome(err)
	}
	return openAccount(r)
}

// claimAll makes the claims of a sign-up.
func (d *directory) claimAll(ctx context.Context, a account) error {
	subject := a.stored.Key.ID
	if a.Keys.Username != "" { // (2)
		if err := d.claim(ctx, nameKey(a.Keys.Username), subject, a.stored.Expires); err != nil {
			return outcome(err)
		}
	}
	// (3) the account exists from here
	return outcome(d.claim(ctx, emailKey(a.Keys.Email), subject, time.Time{}))
}

// finish takes the expiries away from a sign-up whose claims are made. It returns
// ErrConflict when the sign-up changed meanwhile.
func (d *directory) finish(ctx context.Context, a account) (User, error) {
	if a.Keys.Username != "" {
		if err := d.confirm(ctx, nameKey(a.Keys.Username), a.stored.Key.ID); err != nil {
			return User{}, outcome(err)
		}
	}
	done, err := d.replace(ctx, a, a, time.Time{})
	if err != nil {
		return User{}, err
	}
	return done.user(), nil
}

// overtaken judges a sign-up that met with ErrConflict. Somebody else may have
// completed it: then overtaken returns the account. It returns ErrNotFound when
// the sign-up is gone, and ErrConflict when it may still succeed.
func (d *directory) overtaken(ctx context.Context, a account) (User, error) {
	now, err := d.account(ctx, a.stored.Key.ID)
	switch {
	case err != nil:
		return User{}, err
	case now.Gone:
		return User{}, ErrNotFound
	case now.complete() && now.Keys.Email == a.Keys.Email:
		return now.user(), nil
	}
	return User{}, ErrConflict
}

// resume completes a sign-up that has died between (3) and (4). It returns
// ErrNotFound when the sign-up did not come to (3), or came there under a username
// that it has then changed for one that is taken: all or nothing.
func (d *directory) resume(ctx context.Context, a account) (User, error) {
	subject := a.stored.Key.ID
	err := outcome(d.confirm(ctx, emailKey(a.Keys.Email), subject))
	if errors.Is(err, errLost) {
		return User{}, ErrNotFound
	}
	if err == nil && a.Keys.Username != "" {
		err = outcome(d.claim(ctx, nameKey(a.Keys.Username), subject, time.Time{}))
		if errors.Is(err, ErrUsernameTaken) {
			d.abandon(ctx, a)
			return User{}, ErrNotFound
		}
	}
	var done account
	if err == nil {
		done, err = d.replace(ctx, a, a, time.Time{})
	}
	if errors.Is(err, ErrConflict) { // others who look do the same
		return d.overtaken(ctx, a)
	}
	if err != nil {
		return User{}, err
	}
	return done.user(), nil
}

// abandon frees what a sign-up holds that cannot succeed. All of it would expire
// or count for nothing without.
func (d *directory) abandon(ctx context.Context, a account) {
	r := stopped(a)
	r.Prev, r.Version = a.stored.Version, storage.NewVersion()
	err := storage.Settle(ctx, d.store, r)
	for _, key := range a.Keys.claims() {
		if err == nil {
			err = d.release(ctx, key, a.stored.Key.ID)
		}
	}
	if err != nil && !errors.Is(err, storage.ErrConflict) {
		d.log.WarnContext(ctx, "a failed sign-up holds its username for up to an hour", "err", err)
	}
}

// replace puts next in the place of exactly cur, or returns ErrConflict.
func (d *directory) replace(ctx context.Context, cur, next account, expires time.Time) (account, error) {
	r := next.record(cur.stored.Key.ID, expires)
	r.Prev, r.Version = cur.stored.Version, storage.NewVersion()
	if err := storage.Settle(ctx, d.store, r); err != nil {
		return account{}, outcome(err)
	}
	next.stored = r
	return next, nil
}

// outcome turns the store's conflict, and a claim that was lost to somebody, into
// this package's.
func outcome(err error) error {
	if errors.Is(err, storage.ErrConflict) || errors.Is(err, errLost) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}
