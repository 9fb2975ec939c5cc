package users

import (
	"context"
	"errors"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var (
	// errLost says that a claim names somebody else or nobody.
	errLost = errors.New("users: the claim is lost")

	// errUnderWay says that a username is that of a sign-up that has not ended.
	errUnderWay = errors.New("users: the sign-up is under way")
)

// taken is the error for a claim that counts.
func taken(key storage.Key) error {
	if key.Kind == storage.Email {
		return ErrEmailTaken
	}
	return ErrUsernameTaken
}

// claim makes the claim name the subject, or returns ErrEmailTaken or
// ErrUsernameTaken. The subject's record names the claim already. The claim is
// written anew even when it is right: whoever judged the old one finds it replaced.
// Its life is never shortened by that: a straggler of the subject's sign-up may
// come by when the account has long been complete.
func (d *directory) claim(ctx context.Context, key storage.Key, subject string, expires time.Time) error {
	_, err := storage.Update(ctx, d.store, key, func(cur storage.Record) (storage.Record, error) {
		other, err := holder(cur)
		if err != nil {
			return storage.Record{}, err
		}
		if other != "" && other != subject {
			if err := d.vacate(ctx, key, other); err != nil {
				return storage.Record{}, err
			}
		}
		lives := expires
		if other == subject && (cur.Expires.IsZero() || !lives.IsZero() && cur.Expires.After(lives)) {
			lives = cur.Expires
		}
		return storage.Record{Value: encode(claim{version, subject}), Expires: lives}, nil
	})
	return err
}

// confirm writes a claim that the subject has anew, to stay, or returns errLost.
func (d *directory) confirm(ctx context.Context, key storage.Key, subject string) error {
	_, err := storage.Update(ctx, d.store, key, func(cur storage.Record) (storage.Record, error) {
		switch other, err := holder(cur); {
		case err != nil:
			return storage.Record{}, err
		case other != subject:
			return storage.Record{}, errLost
		}
		return storage.Record{Value: cur.Value}, nil
	})
	return err
}

// vacate returns nil when the claim that was read as naming other may be
// replaced, and ErrEmailTaken or ErrUsernameTaken when it counts. A claim that
// might still come to count is not left at that: a change that only wants it is
// struck from other's record, so that its commit fails, and a sign-up under way is
// completed. So whoever is told that a name is taken was told the truth, however
// many come for it at once; stopping each other, all could end without it.
func (d *directory) vacate(ctx context.Context, key storage.Key, other string) error {
	for range 3 {
		var underWay account
		_, err := storage.Update(ctx, d.store, userKey(other), func(cur storage.Record) (storage.Record, error) {
			a, err := openAccount(cur)
			switch {
			case err != nil:
				return storage.Record{}, err
			case a.Gone:
				return storage.Record{}, storage.ErrKeep
			case a.Keys.has(key) && (a.complete() || key.Kind == storage.Email):
				return storage.Record{}, taken(key)
			case a.Keys.has(key):
				underWay = a
				return storage.Record{}, errUnderWay
			case a.Next.has(key):
				a.Next = names{}
				return a.record(other, cur.Expires), nil
			}
			return storage.Record{}, storage.ErrKeep
		})
		if !errors.Is(err, errUnderWay) {
			return err
		}
		if over, err := d.help(ctx, underWay); over || err != nil {
			return err
		}
	}
	return ErrConflict
}

// help does what is left of somebody's sign-up that holds its username: steps (3)
// and (4). It reports over when the sign-up has lost the username, so that there
// is nothing to help with; otherwise its record says what has become of it.
func (d *directory) help(ctx context.Context, a account) (over bool, err error) {
	subject := a.stored.Key.ID
	switch err := d.claim(ctx, emailKey(a.Keys.Email), subject, time.Time{}); {
	case errors.Is(err, ErrEmailTaken): // then it cannot succeed
		d.abandon(ctx, a)
		return false, nil
	case err != nil:
		return false, outcome(err)
	}
	_, err = d.finish(ctx, a)
	switch {
	case errors.Is(err, errLost):
		return true, nil // to whoever replaced the claim that the caller has read
	case errors.Is(err, ErrConflict):
		return false, nil
	}
	return false, err
}

// stopped is the record of a sign-up that can no longer be completed.
func stopped(a account) storage.Record {
	return account{Gone: true, Created: a.Created}.record(a.stored.Key.ID, a.stored.Expires)
}

// release makes the claim name nobody, unless it is not the subject's or the
// subject's record names it (again). It never deletes: that would also remove what
// somebody else has claimed since it was read.
func (d *directory) release(ctx context.Context, key storage.Key, subject string) error {
	_, err := storage.Update(ctx, d.store, key, func(cur storage.Record) (storage.Record, error) {
		other, err := holder(cur)
		if err != nil {
			return storage.Record{}, err
		}
		if other != subject {
			return storage.Record{}, storage.ErrKeep
		}
		a, err := d.account(ctx, subject)
		if err != nil {
			return storage.Record{}, err
		}
		if !a.Gone && (a.Keys.has(key) || a.Next.has(key)) {
			return storage.Record{}, storage.ErrKeep
		}
		return storage.Record{Value: encode(claim{V: version}), Expires: d.now().Add(leftover)}, nil
	})
	return err
}
