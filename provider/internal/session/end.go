package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// SignOutKind is the outbox kind of sign-outs to be finished.
const SignOutKind outbox.Kind = "sign_out"

// signOutLife is how long a sign-out is tried. It is beyond the life of any
// access token, which is what could still work when the store was away.
const signOutLife = 48 * time.Hour

// A signOut is what the outbox keeps of a sign-out.
type signOut struct {
	SID string `json:"sid"`
}

// End signs a session out. When it returns nil, the session's cookie is worth
// nothing and what was granted in the session, but for grants with
// offline_access, is revoked. Ending what is over already is no error.
//
// On an error the session may or may not be over yet. If the job of this sign-out
// could be stored, all of it will still happen, as soon as the store allows.
func (s *Service) End(ctx context.Context, sid string) error {
	if _, ok := secrets.ParseID(sid); !ok {
		return nil
	}
	ticket, err := s.begin(ctx, sid)
	if err != nil {
		return fmt.Errorf("session: end: %w", err)
	}
	if err := s.deps.Grants.RevokeSession(ctx, sid); err != nil {
		return fmt.Errorf("session: end: %w", err)
	}
	// The session is over and nothing of it is valid: what is left is to clear up,
	// which the job does if it fails here.
	if err := s.deps.Store.Delete(ctx, key(sid)); err != nil {
		s.cfg.Logger.WarnContext(ctx, "session: an ended session is left to be cleared up", "err", err)
		return nil
	}
	_ = s.deps.Outbox.Done(ctx, ticket)
	return nil
}

// EndSubject signs a person out of every browser that signed in before the given
// moment, in unix milliseconds. It may be repeated.
func (s *Service) EndSubject(ctx context.Context, subject string, before int64) error {
	page := storage.Page{}
	for {
		records, next, err := s.deps.Store.List(ctx, subjectGroup(subject), page)
		if err != nil {
			return fmt.Errorf("session: list: %w", err)
		}
		for _, r := range records {
			if r.Key.Kind != storage.Session || r.Sort >= before {
				continue
			}
			if err := s.End(ctx, r.Key.ID); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		page.After = next
	}
}

// begin makes the sign-out certain and the session over. The job comes first: a
// process that dies after it has not forgotten the rest.
func (s *Service) begin(ctx context.Context, sid string) (outbox.Ticket, error) {
	ticket, err := s.deps.Outbox.Add(ctx, outbox.Job{
		ID:      "sign_out." + sid,
		Kind:    SignOutKind,
		Payload: signOut{SID: sid},
		Expires: s.cfg.Now().Add(signOutLife),
	})
	if err != nil {
		return outbox.Ticket{}, err
	}
	return ticket, over(ctx, s.deps.Store, sid)
}

// over marks the session as ended. It may be repeated.
func over(ctx context.Context, store storage.Store, sid string) error {
	_, err := storage.Update(ctx, store, key(sid), func(cur storage.Record) (storage.Record, error) {
		if cur.IsZero() {
			return cur, storage.ErrKeep
		}
		v, err := decode(cur)
		if err != nil {
			return cur, err
		}
		if v.Ended {
			return cur, storage.ErrKeep
		}
		v.Ended = true
		cur.Value, err = json.Marshal(v)
		return cur, err
	}) // the session is over here
	if errors.Is(err, storage.ErrCorrupt) {
		return nil // Load takes a damaged record for none already
	}
	return err
}

// finish does what follows from an ended session, and may be repeated. The record
// goes last: as long as it is there, it says that the session is over.
func finish(ctx context.Context, store storage.Store, grants Grants, sid string) error {
	if err := grants.RevokeSession(ctx, sid); err != nil {
		return err
	}
	return store.Delete(ctx, key(sid))
}

// SignOutHandler returns the outbox handler of SignOutKind. It takes up a sign-out
// wherever it was left. It is apart from the Service because the outbox is made
// first.
func SignOutHandler(store storage.Store, grants Grants) (outbox.Handler, error) {
	if store == nil || grants == nil {
		return nil, errors.New("session: sign-out: no store or no grants")
	}
	return func(ctx context.Context, payload json.RawMessage) error {
		var job signOut
		if err := json.Unmarshal(payload, &job); err != nil {
			return outbox.Permanent(fmt.Errorf("session: sign-out: decode: %w", err))
		}
		if _, ok := secrets.ParseID(job.SID); !ok {
			return outbox.Permanent(errors.New("session: sign-out: not a session id"))
		}
		if err := over(ctx, store, job.SID); err != nil {
			return fmt.Errorf("session: sign-out: %w", err)
		}
		if err := finish(ctx, store, grants, job.SID); err != nil {
			return fmt.Errorf("session: sign-out: %w", err)
		}
		return nil
	}, nil
}
