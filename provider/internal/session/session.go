package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

const cookiePurpose secrets.Purpose = "session"

// touchEvery is how exact LastSeen is kept. A session may die this much sooner
// than its idle time; in exchange most requests write nothing.
const touchEvery = 5 * time.Minute

// Config holds the lives of sessions. The zero value of each field stands for its
// default.
type Config struct {
	Idle   time.Duration    // after the last request. Default 12h
	Max    time.Duration    // after the sign-in. Default 720h (30 days)
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default none
}

// Jobs is the part of outbox.Outbox that ending a session needs.
type Jobs interface {
	Add(ctx context.Context, j outbox.Job) (outbox.Ticket, error)
	Dispatch(t outbox.Ticket)
	Done(ctx context.Context, t outbox.Ticket) error
}

// Grants ends what was granted in a session.
type Grants interface {
	// RevokeSession revokes the grants of the session that were not meant to
	// outlive it. It can be repeated.
	RevokeSession(ctx context.Context, sid string) error
}

// Deps are a Service's collaborators. All are required.
type Deps struct {
	Store   storage.Store
	Secrets *secrets.Ring
	Outbox  Jobs
	Grants  Grants
}

// A Service keeps sessions. It is safe for concurrent use.
type Service struct {
	cfg  Config
	deps Deps
}

// New returns a Service. It starts nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	switch {
	case deps.Store == nil:
		return nil, errors.New("session: no store")
	case deps.Secrets == nil:
		return nil, errors.New("session: no secrets")
	case deps.Outbox == nil:
		return nil, errors.New("session: no outbox")
	case deps.Grants == nil:
		return nil, errors.New("session: no grants")
	}
	if cfg.Idle <= 0 {
		cfg.Idle = 12 * time.Hour
	}
	if cfg.Max <= 0 {
		cfg.Max = 30 * 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, deps: deps}, nil
}

// A Session is one signed-in browser, as it was when it was read.
type Session struct {
	ID       string // sid in tokens; worth nothing as a cookie
	Subject  string
	AMR      []string  // how the person signed in (RFC 8176)
	AuthTime time.Time // when
	LastSeen time.Time // within five minutes
	Expires  time.Time // at the latest
}

// record is the stored form.
type record struct {
	V        int      `json:"v"`
	Subject  string   `json:"subject"`
	AMR      []string `json:"amr,omitempty"`
	AuthTime int64    `json:"auth_time"` // unix seconds, as in tokens
	Created  int64    `json:"created"`   // unix milliseconds, as what follows
	LastSeen int64    `json:"last_seen"`
	Expires  int64    `json:"expires"` // at the latest
	Ended    bool     `json:"ended,omitempty"`
}

const recordVersion = 1

func key(sid string) storage.Key { return storage.Key{Kind: storage.Session, ID: sid} }

func subjectGroup(subject string) string { return "session/sub/" + subject }

func decode(rec storage.Record) (record, error) {
	var v record
	if err := json.Unmarshal(rec.Value, &v); err != nil {
		return record{}, fmt.Errorf("decode: %w", storage.ErrCorrupt)
	}
	if v.V != recordVersion {
		return record{}, fmt.Errorf("decode: version %d: %w", v.V, storage.ErrUnfit)
	}
	return v, nil
}

// into returns rec with v as its value, for as long as v lives.
func (s *Service) into(rec storage.Record, v record) (storage.Record, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return storage.Record{}, fmt.Errorf("encode: %w", err)
	}
	rec.Value = value
	rec.Sort = v.Created
	rec.Expires = s.dies(v)
	return rec, nil
}

// dies is when v ends by itself.
func (s *Service) dies(v record) time.Time {
	return time.UnixMilli(min(v.Expires, v.LastSeen+s.cfg.Idle.Milliseconds()))
}

// An Authentication is a person who has just shown who they are.
type Authentication struct {
	Subject string
	AMR     []string
	At      time.Time
	// Previous is the session that this browser had, "" for none. It is ended.
	Previous string
}

// Authenticated makes the session of a sign-in. Its id and its cookie value are
// always new, also when the same person signs in again. What was granted in the
// previous session is revoked in the background.
//
// On an error, which is the store's, nobody was signed in.
func (s *Service) Authenticated(ctx context.Context, a Authentication) (Session, string, error) {
	if a.Subject == "" {
		return Session{}, "", errors.New("session: authenticated nobody")
	}
	now := s.cfg.Now()
	v := record{
		V:        recordVersion,
		Subject:  a.Subject,
		AMR:      slices.Clone(a.AMR),
		AuthTime: a.At.Unix(),
		Created:  now.UnixMilli(),
		LastSeen: now.UnixMilli(),
		Expires:  now.Add(s.cfg.Max).UnixMilli(),
	}
	sid := secrets.NewID()
	rec, err := s.into(storage.Record{
		Key:     key(sid),
		Groups:  []string{subjectGroup(a.Subject)},
		Version: storage.NewVersion(),
	}, v)
	if err != nil {
		return Session{}, "", err
	}
	// The old session first: a browser must not be left with two.
	if _, ok := secrets.ParseID(a.Previous); ok {
		ticket, err := s.begin(ctx, a.Previous)
		if err != nil {
			return Session{}, "", fmt.Errorf("session: replace: %w", err)
		}
		s.deps.Outbox.Dispatch(ticket)
	}
	if err := storage.Settle(ctx, s.deps.Store, rec); err != nil {
		return Session{}, "", fmt.Errorf("session: create: %w", err)
	}
	raw, _ := secrets.ParseID(sid)
	return session(sid, v), s.deps.Secrets.Handle(cookiePurpose, raw), nil
}

func session(sid string, v record) Session {
	return Session{
		ID:       sid,
		Subject:  v.Subject,
		AMR:      v.AMR,
		AuthTime: time.Unix(v.AuthTime, 0),
		LastSeen: time.UnixMilli(v.LastSeen),
		Expires:  time.UnixMilli(v.Expires),
	}
}

// Load returns the live session that a cookie stands for. ok is false when there
// is none; a cookie that is not ours costs no read, any other one exactly one. A
// damaged record is no session. Of a session whose end was begun and may not be
// finished, ok is false and sess has its ID only, for another End. The error is the
// store's, and then nothing is known.
func (s *Service) Load(ctx context.Context, cookie string) (sess Session, ok bool, err error) {
	raw, _, err := s.deps.Secrets.ParseHandle(cookiePurpose, cookie)
	if err != nil || len(raw) != 16 {
		return Session{}, false, nil
	}
	sid := base64.RawURLEncoding.EncodeToString(raw)
	v, ok, err := s.read(ctx, sid)
	if errors.Is(err, storage.ErrCorrupt) {
		s.cfg.Logger.ErrorContext(ctx, "session: a damaged record counts as signed out", "err", err)
		return Session{}, false, nil
	}
	if err != nil {
		return Session{}, false, fmt.Errorf("session: load: %w", err)
	}
	switch {
	case !ok || !s.cfg.Now().Before(s.dies(v)):
		return Session{}, false, nil
	case v.Ended:
		return Session{ID: sid}, false, nil
	}
	return session(sid, v), true, nil
}

// Alive reports whether the session has neither ended nor expired.
func (s *Service) Alive(ctx context.Context, sid string) (bool, error) {
	if _, ok := secrets.ParseID(sid); !ok {
		return false, nil
	}
	v, ok, err := s.read(ctx, sid)
	if err != nil {
		return false, fmt.Errorf("session: ask: %w", err)
	}
	return ok && !v.Ended && s.cfg.Now().Before(s.dies(v)), nil
}

func (s *Service) read(ctx context.Context, sid string) (v record, ok bool, err error) {
	recs, err := s.deps.Store.Get(ctx, key(sid))
	if err != nil || recs[0].IsZero() {
		return record{}, false, err
	}
	v, err = decode(recs[0])
	return v, err == nil, err
}

// errGone says that a session ended while it was being touched.
var errGone = errors.New("session: gone")

// Touch notes that the session was used just now. It writes at most every five
// minutes. A session that has ended meanwhile stays ended, which is no error.
func (s *Service) Touch(ctx context.Context, sess Session) error {
	now := s.cfg.Now()
	if now.Sub(sess.LastSeen) < touchEvery {
		return nil
	}
	_, err := storage.Update(ctx, s.deps.Store, key(sess.ID), func(cur storage.Record) (storage.Record, error) {
		if cur.IsZero() {
			return cur, errGone
		}
		v, err := decode(cur)
		if err != nil {
			return cur, err
		}
		if v.Ended || !now.Before(s.dies(v)) {
			return cur, errGone
		}
		if now.UnixMilli()-v.LastSeen < touchEvery.Milliseconds() {
			return cur, storage.ErrKeep // another request of this browser was here
		}
		v.LastSeen = now.UnixMilli()
		return s.into(cur, v)
	})
	if err != nil && !errors.Is(err, errGone) {
		return fmt.Errorf("session: touch: %w", err)
	}
	return nil
}
