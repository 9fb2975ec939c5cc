package users

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// shards is how many groups the accounts are spread over: one group of a million
// members would be one slow key in some stores.
const shards = 16

func userKey(subject string) storage.Key { return storage.Key{Kind: storage.User, ID: subject} }
func emailKey(key string) storage.Key    { return storage.Key{Kind: storage.Email, ID: key} }
func nameKey(key string) storage.Key     { return storage.Key{Kind: storage.Username, ID: key} }

func shardName(n int) string { return fmt.Sprintf("users/%d", n) }

func shardOf(subject string) string {
	h := fnv.New32a()
	h.Write([]byte(subject)) // a hash never fails
	return shardName(int(h.Sum32() % shards))
}

// names are the keys that an account claims, in the form they are looked up by.
type names struct {
	Email    string `json:"email,omitempty"`
	Username string `json:"username,omitempty"`
}

// claims returns the keys of the claims, the username's first: the email is what
// decides, so it comes last.
func (n names) claims() []storage.Key {
	var keys []storage.Key
	if n.Username != "" {
		keys = append(keys, nameKey(n.Username))
	}
	if n.Email != "" {
		keys = append(keys, emailKey(n.Email))
	}
	return keys
}

func (n names) has(claim storage.Key) bool {
	for _, k := range n.claims() {
		if k == claim {
			return true
		}
	}
	return false
}

// without returns the names of n that are not also names of o.
func (n names) without(o names) names {
	if n.Email == o.Email {
		n.Email = ""
	}
	if n.Username == o.Username {
		n.Username = ""
	}
	return n
}

// account is the value of user/<subject>.
type account struct {
	V int `json:"v"`

	Keys names `json:"keys"` // what the account is known by
	Next names `json:"next"` // what a change under way wants, binding nobody

	// Gone marks an account that was removed or a sign-up that was stopped. Its
	// names do not count.
	Gone bool `json:"gone,omitempty"`

	Email    string `json:"email,omitempty"`
	Verified bool   `json:"email_verified,omitempty"`
	Username string `json:"username,omitempty"`
	Name     string `json:"name,omitempty"`
	Locale   string `json:"locale,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	Created  int64  `json:"created"` // Unix milliseconds
	Updated  int64  `json:"updated"`

	stored storage.Record // the state that was read or written last
}

const version = 1

// accountOf returns what the directory keeps of u. u has passed Check.
func accountOf(u User) account {
	name, _ := UsernameKey(u.Username) // "" has no key
	return account{
		Keys:     names{Email: u.EmailKey, Username: name},
		Email:    u.Email,
		Verified: u.EmailVerified,
		Username: u.Username,
		Name:     u.Name,
		Locale:   u.Locale,
		Disabled: u.Disabled,
	}
}

// openAccount reads a record of the kind user. An absent one is a gone account.
func openAccount(r storage.Record) (account, error) {
	a := account{stored: r}
	if r.IsZero() {
		a.Gone = true
		return a, nil
	}
	if err := json.Unmarshal(r.Value, &a); err != nil || a.V != version {
		return account{}, fmt.Errorf("read account: %w: format %d", storage.ErrCorrupt, a.V)
	}
	return a, nil
}

// complete reports whether a is an account that was or may have been
// acknowledged, and not a sign-up under way.
func (a account) complete() bool { return !a.Gone && a.stored.Expires.IsZero() }

// user returns a for callers.
func (a account) user() User {
	return User{
		Subject:       a.stored.Key.ID,
		Email:         a.Email,
		EmailKey:      a.Keys.Email,
		EmailVerified: a.Verified,
		Username:      a.Username,
		Name:          a.Name,
		Locale:        a.Locale,
		Disabled:      a.Disabled,
		CreatedAt:     time.UnixMilli(a.Created).UTC(),
		UpdatedAt:     time.UnixMilli(a.Updated).UTC(),
		Version:       base64.RawURLEncoding.EncodeToString(a.stored.Version[:]),
	}
}

// record returns a as the next record of the subject, without versions.
func (a account) record(subject string, expires time.Time) storage.Record {
	a.V = version
	return storage.Record{
		Key:     userKey(subject),
		Groups:  []string{shardOf(subject)},
		Sort:    a.Created,
		Value:   encode(a),
		Expires: expires,
	}
}

// claim is the value of email/<identity> and username/<name>.
type claim struct {
	V       int    `json:"v"`
	Subject string `json:"sub,omitempty"` // "" after a release
}

// holder returns whom a claim names, "" when it names nobody.
func holder(r storage.Record) (string, error) {
	if r.IsZero() {
		return "", nil
	}
	var c claim
	if err := json.Unmarshal(r.Value, &c); err != nil || c.V != version {
		return "", fmt.Errorf("read claim: %w: format %d", storage.ErrCorrupt, c.V)
	}
	return c.Subject, nil
}

// encode is json.Marshal of this package's own types, which cannot fail.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("users: " + err.Error())
	}
	return b
}
