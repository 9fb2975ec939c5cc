// Package consent remembers what people have allowed clients.
//
// Its invariant: a consent holds what its person has said yes to since it was last
// withdrawn, and nothing else. It grows by what is allowed on the consent page, where a
// no gives nothing and takes nothing, and goes as a whole. Whatever was granted because of it is worth something only as long as it
// covers that: whoever uses a grant that rests on a consent asks [Service.Covers]. What
// they allow after that is another consent, with another id, on which nothing rests that
// was granted before.
//
//	consent/<subject, client>   {id, scopes, at}, in the group consent/sub/<subject>
//
// The group is there to forget a person: an account that is gone leaves nothing behind.
package consent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// Config is what New needs.
type Config struct {
	Store  storage.Store
	Grants Grants
	Now    func() time.Time // default time.Now
}

// Grants ends what a client was granted.
type Grants interface {
	// RevokeClient revokes the person's grants of one client. It can be repeated.
	RevokeClient(ctx context.Context, subject, clientID string) error
}

// A Service remembers consents. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns a Service. It starts nothing.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Grants == nil {
		return nil, errors.New("consent: no store or no grants")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg}, nil
}

// record is the value of a consent.
type record struct {
	V      int      `json:"v"`
	ID     string   `json:"id"`     // drawn when there was none before
	Scopes []string `json:"scopes"` // sorted
	At     int64    `json:"at"`     // when it last grew; unix milliseconds
}

const recordVersion = 1

// key is where the consent is. Subjects and client ids may hold any bytes, so the
// length of the first says where the second begins.
func key(subject, clientID string) storage.Key {
	return storage.Key{Kind: storage.Consent, ID: strconv.Itoa(len(subject)) + "/" + subject + "/" + clientID}
}

func group(subject string) string { return "consent/sub/" + subject }

func decode(r storage.Record) (record, error) {
	var v record
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return record{}, fmt.Errorf("decode: %w", storage.ErrCorrupt)
	}
	if v.V != recordVersion {
		return record{}, fmt.Errorf("decode: version %d: %w", v.V, storage.ErrUnfit)
	}
	return v, nil
}

// covers reports whether all of the scopes were allowed.
func (v record) covers(scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(v.Scopes, s) })
}

// Allow adds the scopes to what the person has allowed the client, and returns the id of
// that consent. Two that are allowed at the same time are both remembered.
func (s *Service) Allow(ctx context.Context, subject, clientID string, scopes []string) (id string, err error) {
	// Allowing twice is allowing once, so a reply that was lost is answered by asking
	// again.
	for range 3 {
		if id, err = s.allow(ctx, subject, clientID, scopes); !errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return "", unavailable("allow", err)
	}
	return id, nil
}

func (s *Service) allow(ctx context.Context, subject, clientID string, scopes []string) (id string, err error) {
	now := s.cfg.Now().UnixMilli()
	_, err = storage.Update(ctx, s.cfg.Store, key(subject, clientID), func(cur storage.Record) (storage.Record, error) {
		v := record{V: recordVersion}
		if !cur.IsZero() {
			var err error
			if v, err = decode(cur); err != nil {
				return cur, err
			}
			if id = v.ID; id != "" && v.covers(scopes) {
				return cur, storage.ErrKeep
			}
		}
		if v.ID == "" {
			v.ID = secrets.NewID()
		}
		id = v.ID
		v.Scopes, v.At = slices.Concat(v.Scopes, scopes), now
		slices.Sort(v.Scopes)
		v.Scopes = slices.Compact(v.Scopes)
		value, err := json.Marshal(v)
		return storage.Record{Groups: []string{group(subject)}, Sort: now, Value: value}, err
	}) // it is allowed from here
	return id, err
}

// Covers returns the id of the consent by which the person allows the client all of the
// scopes, "" when there is none. It is one read.
func (s *Service) Covers(ctx context.Context, subject, clientID string, scopes []string) (id string, err error) {
	recs, err := s.cfg.Store.Get(ctx, key(subject, clientID))
	if err != nil {
		return "", unavailable("read", err)
	}
	if recs[0].IsZero() {
		return "", nil
	}
	v, err := decode(recs[0])
	if err != nil {
		return "", unavailable("read", err)
	}
	if !v.covers(scopes) {
		return "", nil
	}
	return v.ID, nil
}

// Withdraw takes back all that the person has allowed the client, and ends what the
// client was granted. On an error it is to be repeated: from the first step on no grant
// that rests on the consent is good for anything new, so a process that dies in between
// leaves access tokens to run out, and nothing else.
func (s *Service) Withdraw(ctx context.Context, subject, clientID string) error {
	if err := s.cfg.Store.Delete(ctx, key(subject, clientID)); err != nil { // the consent is gone here
		return unavailable("withdraw", err)
	}
	// After it: a grant that is made meanwhile, and not listed yet, finds no consent.
	if err := s.cfg.Grants.RevokeClient(ctx, subject, clientID); err != nil {
		return unavailable("withdraw", err)
	}
	return nil
}

// Forget removes all that the person has allowed anybody. It ends no grants, and can be
// repeated.
func (s *Service) Forget(ctx context.Context, subject string) error {
	page := storage.Page{}
	for {
		records, next, err := s.cfg.Store.List(ctx, group(subject), page)
		if err != nil {
			return unavailable("forget", err)
		}
		for _, r := range records {
			if err := s.cfg.Store.Delete(ctx, r.Key); err != nil {
				return unavailable("forget", err)
			}
		}
		if next == "" {
			return nil
		}
		page.After = next
	}
}

// unavailable wraps an error of the store with the deed. A conflict that outlasted
// every retry is an outage as well: nobody did anything wrong, and waiting helps.
func unavailable(deed string, err error) error {
	if errors.Is(err, storage.ErrConflict) {
		err = fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return fmt.Errorf("consent: %s: %w", deed, err)
}
