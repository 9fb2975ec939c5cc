package fositestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// Status is what the store knows of an access token.
type Status struct {
	Grant   *Grant // nil when the grant is gone, or the token has none
	Revoked bool   // the token itself was revoked
}

// Status reads, in one round trip, the grant and the revocation of an access
// token. grantID is "" for a token without a grant.
func (s *Store) Status(ctx context.Context, grantID, jti string) (Status, error) {
	keys := []storage.Key{{Kind: storage.Revoked, ID: jti}}
	if grantID != "" {
		keys = append(keys, storage.Key{Kind: storage.Grant, ID: grantID})
	}
	records, err := s.records.Get(ctx, keys...)
	if err != nil {
		return Status{}, fmt.Errorf("read token status: %w", err)
	}
	st := Status{Revoked: !records[0].IsZero()}
	if len(records) > 1 && !records[1].IsZero() {
		if st.Grant, err = decodeGrant(records[1]); err != nil {
			return Status{}, err
		}
	}
	return st, nil
}

// Made reports whether a grant was made under the id, whatever has become of it since.
func (s *Store) Made(ctx context.Context, id string) (bool, error) {
	records, err := s.records.Get(ctx, storage.Key{Kind: storage.Grant, ID: id})
	if err != nil {
		return false, fmt.Errorf("look for a grant: %w", err)
	}
	return !records[0].IsZero(), nil
}

// RevokeGrant ends a grant and everything born of it, if owner accepts it.
// It reports false when there is no such grant, or not the owner's. A refresh
// that runs at the same time ends revoked: this retries until its own Put stands.
func (s *Store) RevokeGrant(ctx context.Context, id string, owner func(*Grant) bool) (found bool, err error) {
	found, _, err = s.revokeGrant(ctx, id, owner)
	return found, err
}

// EndGrant is RevokeGrant for what we decide ourselves, whoever owns the grant. It
// reports false when the grant was ended before, or there is none.
func (s *Store) EndGrant(ctx context.Context, id string) (ended bool, err error) {
	_, ended, err = s.revokeGrant(ctx, id, func(*Grant) bool { return true })
	return ended, err
}

func (s *Store) revokeGrant(ctx context.Context, id string, owner func(*Grant) bool) (found, ended bool, err error) {
	by := secrets.NewID()
	// Revoking twice is revoking once, so a reply that was lost is answered by
	// asking again.
	for range 3 {
		if found, ended, err = s.tryRevoke(ctx, id, by, owner); !errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return false, false, fmt.Errorf("revoke grant: %w", err)
	}
	return found, ended, nil
}

// tryRevoke is one try to revoke the grant under the mark by.
func (s *Store) tryRevoke(ctx context.Context, id, by string, owner func(*Grant) bool) (found, ended bool, err error) {
	_, err = storage.Update(ctx, s.records, storage.Key{Kind: storage.Grant, ID: id}, func(cur storage.Record) (storage.Record, error) {
		found, ended = false, false
		if cur.IsZero() {
			return cur, storage.ErrKeep
		}
		g, err := decodeGrant(cur)
		if err != nil {
			return cur, err
		}
		if !owner(g) {
			return cur, storage.ErrKeep
		}
		found = true
		if g.State == stateRevoked {
			ended = g.EndedBy == by // by a Put of ours whose reply was lost
			return cur, storage.ErrKeep
		}
		g.State, g.EndedBy, ended = stateRevoked, by, true
		return g.record(cur, storage.NewVersion())
	})
	return found, ended, err
}

// RevokeToken ends one access token before its time.
func (s *Store) RevokeToken(ctx context.Context, jti string, expires int64) error {
	r := storage.Record{
		Key:     storage.Key{Kind: storage.Revoked, ID: jti},
		Value:   []byte(`{"v":1}`),
		Version: storage.NewVersion(),
		Expires: time.Unix(expires, 0),
	}
	if err := storage.Settle(ctx, s.records, r); err != nil && !errors.Is(err, storage.ErrConflict) {
		return fmt.Errorf("revoke token: %w", err)
	}
	return nil // a conflict: it was revoked already
}

// RevokeSession ends the grants born in a browser session, except those that the
// person allowed to outlive it (offline_access).
func (s *Store) RevokeSession(ctx context.Context, sid string) error {
	return s.revokeAll(ctx, SessionGroup(sid), func(g *Grant) bool { return !g.Offline() })
}

// RevokeSubject ends the grants of a person that were made before the given moment,
// in unix milliseconds, except the one that is to be kept ("" for none).
func (s *Store) RevokeSubject(ctx context.Context, subject string, before int64, keep string) error {
	return s.revokeAll(ctx, SubjectGroup(subject), func(g *Grant) bool {
		return g.Subject == subject && g.ID != keep && g.CreatedAt < before
	})
}

// RevokeClient ends the grants of a person to one client.
func (s *Store) RevokeClient(ctx context.Context, subject, clientID string) error {
	return s.revokeAll(ctx, SubjectGroup(subject), func(g *Grant) bool { return g.Subject == subject && g.ClientID == clientID })
}

func (s *Store) revokeAll(ctx context.Context, group string, wanted func(*Grant) bool) error {
	page := storage.Page{}
	for {
		records, next, err := s.records.List(ctx, group, page)
		if err != nil {
			return fmt.Errorf("list grants: %w", err)
		}
		for _, r := range records {
			if r.Key.Kind != storage.Grant {
				continue
			}
			if _, err := s.RevokeGrant(ctx, r.Key.ID, wanted); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		page.After = next
	}
}
