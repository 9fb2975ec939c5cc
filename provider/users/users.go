package users

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	// ErrNotFound says that there is no such account.
	ErrNotFound = errors.New("users: no such account")

	// ErrEmailTaken says that the address leads to another account.
	ErrEmailTaken = errors.New("users: the address belongs to another account")

	// ErrUsernameTaken says that another account has the username.
	ErrUsernameTaken = errors.New("users: the username belongs to another account")

	// ErrConflict says that the account was changed since it was read.
	ErrConflict = errors.New("users: the account was changed by somebody else")

	// ErrInvalid says that a User cannot be kept, whoever else there is.
	ErrInvalid = errors.New("users: invalid account")
)

// A User is one account.
type User struct {
	// Subject names the account for ever: 1 to 255 printable ASCII characters
	// (OpenID Connect Core section 2). The caller of Create draws it at random.
	Subject string

	// Email is the address as its owner spells it: where mail goes.
	Email string

	// EmailKey is the identity of the address, mail.Address.Identity: what ByEmail
	// looks for and what is unique. A table needs a unique index on it and no
	// folding of its own.
	EmailKey string

	EmailVerified bool

	// Username is a second name to sign in with, "" for none. It is unique
	// without regard to case; see [UsernameKey] for what it may be.
	Username string

	Name   string // for people to read; at most 256 bytes
	Locale string // BCP 47; at most 64 bytes

	// Disabled accounts keep their address and cannot sign in.
	Disabled bool

	// CreatedAt and UpdatedAt are set by the directory, in UTC and whole
	// milliseconds. Create keeps a CreatedAt that is not zero.
	CreatedAt, UpdatedAt time.Time

	// Version is the directory's mark of this state of the account: a row's
	// version, a hash, or whatever else differs after each change. Update compares it.
	Version string
}

// A Directory keeps accounts. Its methods are safe for concurrent use. An error
// other than those named says that the directory could not do it or could not
// tell whether it did; it wraps storage.ErrUnavailable where waiting may help.
type Directory interface {
	// BySubject returns the account, or ErrNotFound.
	BySubject(ctx context.Context, subject string) (User, error)

	// ByEmail returns the account with this EmailKey, or ErrNotFound.
	ByEmail(ctx context.Context, emailKey string) (User, error)

	// ByUsername returns the account with this username in any case, or ErrNotFound.
	ByUsername(ctx context.Context, username string) (User, error)

	// Create adds an account and returns it as kept. It returns ErrEmailTaken,
	// ErrUsernameTaken or ErrInvalid, and then nothing has changed. Create with a
	// Subject that exists and the same EmailKey returns the account that exists, so
	// that a sign-up whose answer was lost can be repeated; with another EmailKey
	// it returns ErrConflict. u.Version is ignored.
	Create(ctx context.Context, u User) (User, error)

	// Update replaces the account u.Subject if its version is u.Version, and
	// returns it as kept. Otherwise it returns ErrConflict, or ErrNotFound,
	// ErrEmailTaken, ErrUsernameTaken or ErrInvalid, and the account says what it
	// said before, though perhaps under another version.
	Update(ctx context.Context, u User) (User, error)

	// Delete removes the account; its address and username are free when it
	// returns. Removing nothing is no error, and a failed Delete can be repeated.
	Delete(ctx context.Context, subject string) error

	// List returns accounts in an order of the directory's own, at most limit of
	// them (1 to 1000; 0 means 100), and where to continue, "" at the end. It
	// begins at after, "" for the start. It does not miss an account that was
	// there before the first page and still is.
	List(ctx context.Context, after string, limit int) (list []User, next string, err error)
}

// Limits of a User.
const (
	maxSubject  = 255 // OpenID Connect Core section 2
	maxEmail    = 512
	maxUsername = 48
	maxName     = 256
	maxLocale   = 64
)

// UsernameKey returns what a username is known by, which is its lower-case form,
// and whether it is one at all: 2 to 48 ASCII letters, digits and any of "-_.:+",
// beginning with a letter or digit. No username contains an @, so none can pass
// for an address.
func UsernameKey(username string) (key string, ok bool) {
	if len(username) < 2 || len(username) > maxUsername {
		return "", false
	}
	for i, c := range []byte(username) {
		letterOrDigit := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letterOrDigit && (i == 0 || !strings.ContainsRune("-_.:+", rune(c))) {
			return "", false
		}
	}
	return strings.ToLower(username), true
}

// Check returns ErrInvalid, saying what is wrong, unless u can be kept. The
// default directory calls it; other directories may.
func (u User) Check() error {
	text := func(s string, most int) bool { return len(s) <= most && utf8.ValidString(s) }
	switch {
	case u.Subject == "" || len(u.Subject) > maxSubject || strings.ContainsFunc(u.Subject, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%w: subject", ErrInvalid)
	case u.Email == "" || u.EmailKey == "" || !text(u.Email, maxEmail) || !text(u.EmailKey, maxEmail):
		return fmt.Errorf("%w: email", ErrInvalid)
	case !text(u.Name, maxName):
		return fmt.Errorf("%w: name", ErrInvalid)
	case !text(u.Locale, maxLocale):
		return fmt.Errorf("%w: locale", ErrInvalid)
	}
	if _, ok := UsernameKey(u.Username); u.Username != "" && !ok {
		return fmt.Errorf("%w: username", ErrInvalid)
	}
	return nil
}
