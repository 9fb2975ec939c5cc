package verification

import (
	"context"
	"errors"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// A Token is what the code of an Ownership was exchanged for. It says that whoever holds
// it has read the mail, and it is spent once.
type Token struct {
	Value     string
	ExpiresIn time.Duration
}

// Prove exchanges the code of a verification with the purpose Ownership for a token.
// Every try counts, and is refused with ErrInvalid, as in Redeem. The same request
// sent again within a minute gets the same token.
func (s *Service) Prove(ctx context.Context, t Try) (Token, error) {
	j, err := s.judge(ctx, t, Ownership)
	if err != nil {
		return Token{}, err
	}
	by := s.named(t.Once)
	v, err := s.use(ctx, j, proved, func(v *record) {
		v.Proved, v.ProvedBy = j.now.UnixMilli(), by
		v.Expires = j.now.Add(s.cfg.Lifetime).UnixMilli()
	})
	again := errors.Is(err, errSpent)
	if again {
		j.tries.refund(ctx)
		if v, err = s.provedBefore(ctx, j, by); err != nil {
			return Token{}, err
		}
	}
	if err != nil {
		return Token{}, unavailable("prove", err)
	}
	if v.Requester != "" {
		if err := s.pointTo(ctx, j.id, v); err != nil {
			return Token{}, err
		}
	}
	if !again { // one proof pays for one mail and one try, however often it is asked for
		s.succeeded(ctx, j, t)
	}
	raw, _ := secrets.ParseID(j.id)
	return Token{s.deps.Secrets.Handle(tokenPurpose, raw), time.UnixMilli(v.Expires).Sub(j.now)}, nil
}

// named is what is kept of the name of a request, "" for one without.
func (s *Service) named(once []byte) string {
	if once == nil {
		return ""
	}
	return s.deps.Secrets.Pseudonym(oncePurpose, string(once))
}

// provedBefore returns the verification if the same request proved it just now.
func (s *Service) provedBefore(ctx context.Context, j judged, by string) (record, error) {
	_, v, ok, err := read(ctx, s.deps.Store, j.id, j.now)
	if err != nil {
		return record{}, err
	}
	if !ok || v.State != proved || by == "" || v.ProvedBy != by || !recent(v.Proved, j.now) {
		return record{}, ErrInvalid
	}
	return v, nil
}

func recent(at int64, now time.Time) bool { return now.Sub(time.UnixMilli(at)) < repeatWithin }

// changeKey is where the id of the verification is kept that has proven the mailbox
// to the person who asked for it, being signed in: some calls name neither.
func (s *Service) changeKey(requester, identity string) storage.Key {
	return storage.Key{Kind: storage.Replay, ID: "change/" + s.deps.Secrets.Pseudonym(changePurpose, requester+"\x00"+identity)}
}

// pointTo makes the newest proof that the requester has of the mailbox found by
// Requested.
func (s *Service) pointTo(ctx context.Context, id string, v record) error {
	_, err := storage.Update(ctx, s.deps.Store, s.changeKey(v.Requester, v.Identity), func(cur storage.Record) (storage.Record, error) {
		return storage.Record{Value: []byte(id), Expires: time.UnixMilli(v.Expires)}, nil
	})
	if err != nil {
		return unavailable("remember who asked", err)
	}
	return nil
}

// A Mailbox is what a token proves. Nothing is spent by looking.
type Mailbox struct {
	Email     string // as typed when the verification was started
	Identity  string
	ClientID  string
	Requester string    // who was signed in and asked, "" for nobody
	Subject   string    // of an account that this proof makes; drawn, not looked up
	At        time.Time // of the proof

	// ID names the verification, for what is made once by it.
	ID string

	// Spent says that this very request has spent the token before, at SpentAt, and was
	// sent again: what it did then is not to be done twice.
	Spent   bool
	SpentAt time.Time

	rec storage.Record
	by  string
}

// OpenToken returns what the token proves to the client, or ErrInvalid when it is
// none, another client's, expired, or was spent by another request than the one
// that once names.
func (s *Service) OpenToken(ctx context.Context, token, clientID string, once []byte) (Mailbox, error) {
	id, ok := s.openHandle(tokenPurpose, token)
	if !ok {
		return Mailbox{}, ErrInvalid
	}
	return s.open(ctx, id, clientID, once)
}

// Requested is OpenToken for a call that does not name the token: the requester has
// asked for the verification of this address, and proved it.
func (s *Service) Requested(ctx context.Context, requester, identity, clientID string, once []byte) (Mailbox, error) {
	recs, err := s.deps.Store.Get(ctx, s.changeKey(requester, identity))
	if err != nil {
		return Mailbox{}, unavailable("find who asked", err)
	}
	if recs[0].IsZero() || !s.cfg.Now().Before(recs[0].Expires) {
		return Mailbox{}, ErrInvalid
	}
	box, err := s.open(ctx, string(recs[0].Value), clientID, once)
	if err != nil {
		return Mailbox{}, err
	}
	if box.Requester != requester || box.Identity != identity {
		return Mailbox{}, ErrInvalid
	}
	return box, nil
}

func (s *Service) open(ctx context.Context, id, clientID string, once []byte) (Mailbox, error) {
	now := s.cfg.Now()
	rec, v, ok, err := read(ctx, s.deps.Store, id, now)
	if err != nil {
		return Mailbox{}, err
	}
	box := Mailbox{
		Email: v.Email, Identity: v.Identity, ClientID: v.Client, Requester: v.Requester, Subject: v.Subject,
		At: time.UnixMilli(v.Proved), ID: id, rec: rec, by: s.named(once),
	}
	box.SpentAt = time.UnixMilli(v.Spent)
	box.Spent = v.State == spent && box.by != "" && v.SpentBy == box.by && recent(v.Spent, now)
	if !ok || v.Purpose != Ownership || v.Client != clientID || v.State != proved && !box.Spent {
		return Mailbox{}, ErrInvalid
	}
	return box, nil
}

// SpendToken spends what OpenToken or Requested returned. Of any number of callers
// one gets nil, and so does the same request sent again; the others get ErrInvalid.
func (s *Service) SpendToken(ctx context.Context, box Mailbox) error {
	if box.Spent {
		return nil
	}
	now, mark := s.cfg.Now(), secrets.NewID()
	_, err := s.turn(ctx, box.rec, func(v *record) error {
		if v.State != proved {
			return errSpent
		}
		v.State, v.Spent, v.SpentBy, v.Mark = spent, now.UnixMilli(), box.by, mark
		return nil
	}, func(v record) bool { return v.Mark == mark || box.by != "" && v.SpentBy == box.by })
	switch {
	case errors.Is(err, errSpent):
		return s.spentBefore(ctx, box)
	case err != nil:
		return unavailable("spend the token", err)
	}
	return nil
}

// spentBefore returns nil if the token was spent by the same request, sent twice at
// the same time.
func (s *Service) spentBefore(ctx context.Context, box Mailbox) error {
	now := s.cfg.Now()
	_, v, ok, err := read(ctx, s.deps.Store, box.ID, now)
	if err != nil {
		return err
	}
	if !ok || v.State != spent || box.by == "" || v.SpentBy != box.by || !recent(v.Spent, now) {
		return ErrInvalid
	}
	return nil
}
