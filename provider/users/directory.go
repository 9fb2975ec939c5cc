package users

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Config is what NewDirectory needs.
type Config struct {
	// Store keeps the accounts: the part of a store that belongs to one issuer
	// (storage.Scope). Required.
	Store storage.Store

	// Now is the clock of the accounts' times and of the hour that a sign-up has.
	// Default time.Now.
	Now func() time.Time

	// Logger is told of leftovers that could not be removed. Default none.
	Logger *slog.Logger
}

// NewDirectory returns the directory that keeps accounts in cfg.Store. It starts
// nothing and reads nothing. BySubject waits for the store once, ByEmail and
// ByUsername twice, whether or not there is such an account.
func NewDirectory(cfg Config) (Directory, error) {
	if cfg.Store == nil {
		return nil, errors.New("users: Config.Store is required")
	}
	d := &directory{store: cfg.Store, now: cfg.Now, log: cfg.Logger}
	if d.now == nil {
		d.now = time.Now
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d, nil
}

type directory struct {
	store storage.Store
	now   func() time.Time
	log   *slog.Logger
}

func (d *directory) BySubject(ctx context.Context, subject string) (User, error) {
	a, err := d.account(ctx, subject)
	if err != nil {
		return User{}, fmt.Errorf("find user by subject: %w", err)
	}
	if !a.complete() { // nobody was told of it yet
		return User{}, ErrNotFound
	}
	return a.user(), nil
}

func (d *directory) ByEmail(ctx context.Context, key string) (User, error) {
	if key == "" || len(key) > maxEmail {
		return User{}, ErrNotFound
	}
	u, err := d.byClaim(ctx, emailKey(key))
	if err != nil {
		return User{}, fmt.Errorf("find user by email: %w", err)
	}
	return u, nil
}

func (d *directory) ByUsername(ctx context.Context, username string) (User, error) {
	key, ok := UsernameKey(username)
	if !ok {
		return User{}, ErrNotFound
	}
	u, err := d.byClaim(ctx, nameKey(key))
	if err != nil {
		return User{}, fmt.Errorf("find user by username: %w", err)
	}
	return u, nil
}

// byClaim returns the account that a claim leads to and that names it back.
func (d *directory) byClaim(ctx context.Context, key storage.Key) (User, error) {
	subject, err := d.holder(ctx, key)
	if err != nil {
		return User{}, err
	}
	read := subject
	if read == "" {
		read = "nobody" // a name that is not there must not be answered sooner
	}
	a, err := d.account(ctx, read)
	if err != nil {
		return User{}, err
	}
	switch {
	case subject == "" || a.Gone || !a.Keys.has(key):
		return User{}, ErrNotFound
	case !a.complete():
		return d.resume(ctx, a)
	}
	return a.user(), nil
}

// account reads user/<subject>; an absent one is gone.
func (d *directory) account(ctx context.Context, subject string) (account, error) {
	if subject == "" || len(subject) > maxSubject {
		return account{Gone: true}, nil
	}
	got, err := d.store.Get(ctx, userKey(subject))
	if err != nil {
		return account{}, err
	}
	return openAccount(got[0])
}

// holder reads a claim and returns whom it names, "" for nobody.
func (d *directory) holder(ctx context.Context, key storage.Key) (string, error) {
	got, err := d.store.Get(ctx, key)
	if err != nil {
		return "", err
	}
	return holder(got[0])
}

func (d *directory) List(ctx context.Context, after string, limit int) ([]User, string, error) {
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, storage.MaxPage)
	shard, inner, err := openCursor(after)
	if err != nil {
		return nil, "", err
	}
	list := make([]User, 0, limit)
	for shard < shards && len(list) < limit {
		page := storage.Page{After: inner, Limit: limit - len(list)}
		var records []storage.Record
		records, inner, err = d.store.List(ctx, shardName(shard), page)
		if err != nil {
			return nil, "", fmt.Errorf("list users: %w", err)
		}
		for _, r := range records {
			a, err := openAccount(r)
			if err != nil {
				return nil, "", fmt.Errorf("list users: %w", err)
			}
			if a.complete() {
				list = append(list, a.user())
			}
		}
		if inner == "" {
			shard++
		}
	}
	if shard == shards {
		return list, "", nil
	}
	return list, strconv.Itoa(shard) + "." + inner, nil
}

// openCursor reads what List returned as next: the shard, ".", and where to go on
// inside it.
func openCursor(s string) (shard int, inner string, err error) {
	if s == "" {
		return 0, "", nil
	}
	number, inner, ok := strings.Cut(s, ".")
	shard, err = strconv.Atoi(number)
	if !ok || err != nil || shard < 0 || shard >= shards {
		return 0, "", fmt.Errorf("list users: %w: not a place in the list", ErrInvalid)
	}
	return shard, inner, nil
}
