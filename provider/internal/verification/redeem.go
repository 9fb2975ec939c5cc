package verification

import (
	"context"
	"crypto/subtle"
	"errors"
	"github.com/lettergate/lettergate/provider/internal/pkce"
	"net/netip"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// A Try is one attempt to redeem a code.
type Try struct {
	// ID or Handle names the verification: the ID in the browser that it is bound
	// to, the Handle everywhere else.
	ID     string
	Handle string

	ClientID string
	Browser  []byte // the browser's secret, as given to Start
	Code     string // digits, as typed; nothing is forgiven here
	Verifier string // PKCE, when the verification was started with a challenge

	// Scopes may name less than the verification was started with. Empty means all.
	Scopes []string

	// AllowSignUp lets an address without an account become one.
	AllowSignUp bool

	// Source is where the try comes from, behind all trusted proxies.
	Source netip.Addr
}

// A Proof says who has shown that a mailbox is theirs. It exists once.
type Proof struct {
	ID     string // of the verification
	User   users.User
	Scopes []string  // granted, among those started with
	At     time.Time // of the proof: auth_time
	State  []byte    // as given to Start
	New    bool      // the account was made by this proof
}

// errSpent says that a right code was used before.
var errSpent = errors.New("verification: spent")

// Redeem accepts a code once. All that is wrong with a try is the same
// ErrInvalid, but for ErrScope; an error of the store or the accounts is returned
// wrapped and says nothing about the code.
//
// The order is what bounds guessing. The try is counted for its source, its
// verification and its account before the code is compared, so that any number of
// parallel tries has as many comparisons as the limits allow. A wrong client,
// browser or PKCE verifier is counted like a wrong code and answered like one,
// whatever the code was: otherwise the answer, or the count, would tell whether it
// is right. Not counted is what nothing is compared with: an unknown, expired or
// forged verification, and input that cannot be a code.
//
// After the deciding Put the code is gone, whatever happens. When the account
// cannot be reached then, the error says so, and the person asks for a new code.
func (s *Service) Redeem(ctx context.Context, t Try) (Proof, error) {
	id, ok := t.ID, true
	if id == "" {
		id, ok = s.openHandle(t.Handle)
	}
	if !ok {
		return Proof{}, ErrInvalid
	}
	now := s.cfg.Now()
	rec, v, ok, err := read(ctx, s.deps.Store, id, now)
	if err != nil {
		return Proof{}, err
	}
	if !ok || !isCode(t.Code, v.Digits) {
		return Proof{}, ErrInvalid
	}
	bound := v.boundTo(t)
	scopes, within := narrow(v.Scopes, t.Scopes)
	if bound && !within {
		return Proof{}, ErrScope
	}
	code, err := v.code(s.deps.Secrets, id)
	if err != nil { // its secret was withdrawn: there is no right code any more
		return Proof{}, ErrInvalid
	}

	tries := s.tries(id, v, t.Source, now)
	over, err := tries.count(ctx)
	if err != nil {
		return Proof{}, err
	}
	if over != "" {
		s.cfg.Logger.InfoContext(ctx, "verification: a try over a limit was refused", "limit", over, "client", v.Client)
		return Proof{}, ErrInvalid
	}
	right := subtle.ConstantTimeCompare([]byte(code), []byte(t.Code)) == 1
	if !right || !bound {
		return Proof{}, ErrInvalid
	}
	v, err = s.spend(ctx, rec, v)
	if errors.Is(err, errSpent) {
		tries.refund(ctx)
		return Proof{}, ErrInvalid
	}
	if err != nil {
		return Proof{}, unavailable("spend", err)
	}
	tries.forgive(ctx)

	user, isNew, err := s.account(ctx, v, t.AllowSignUp)
	if err != nil {
		return Proof{}, err
	}
	return Proof{ID: id, User: user, Scopes: scopes, At: now, State: v.Request, New: isNew}, nil
}

// isCode reports whether s is a decimal number of n ASCII digits.
func isCode(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// boundTo reports whether t comes from where v was started.
func (v record) boundTo(t Try) bool {
	if v.Client != t.ClientID || v.Purpose != SignIn {
		return false
	}
	switch {
	case len(v.Browser) != 0:
		return t.Verifier == "" && v.inBrowser(t.Browser)
	case t.Browser != nil || t.Handle == "":
		// Only the handle proves anything where no browser does, and a browser must
		// not be signed in by a verification that somebody else has started.
		return false
	case v.Challenge != "":
		return pkce.Proves(t.Verifier, v.Challenge)
	default:
		return t.Verifier == "" // one without a challenge hides a mix-up
	}
}

// spend makes v a spent verification with a subject. Of any number of callers one
// gets nil, the others errSpent; any other error leaves it open.
//
// The subject is drawn here, whether or not it will be needed: making the account
// can then be repeated without making a second one.
func (s *Service) spend(ctx context.Context, rec storage.Record, v record) (record, error) {
	drawn := ""
	turn := func(cur storage.Record) (storage.Record, error) {
		v, err := decode(cur)
		if err != nil {
			return cur, err
		}
		if v.State != pending {
			return cur, errSpent
		}
		drawn = secrets.NewID()
		v.State, v.Subject = spent, drawn
		return v.into(cur)
	}
	next, err := turn(rec)
	if err != nil {
		return record{}, err
	}
	next.Prev, next.Version = rec.Version, storage.NewVersion()
	err = storage.Settle(ctx, s.deps.Store, next) // the code is spent here
	if errors.Is(err, storage.ErrConflict) {
		// Somebody has changed the record since it was read. If that was a resend
		// and not another redeemer, the code is still there to be spent.
		next, err = storage.Update(ctx, s.deps.Store, rec.Key, func(cur storage.Record) (storage.Record, error) {
			if cur.IsZero() {
				return cur, errSpent // expired meanwhile
			}
			return turn(cur)
		})
	}
	if errors.Is(err, storage.ErrUnavailable) {
		return s.inquire(ctx, rec.Key, drawn, err)
	}
	if err != nil {
		return record{}, err
	}
	return decode(next)
}

// inquire finds out who spent the code when the reply to the Put was lost: the
// subject in the record is the one that its spender has drawn.
func (s *Service) inquire(ctx context.Context, key storage.Key, drawn string, cause error) (record, error) {
	got, err := s.deps.Store.Get(ctx, key)
	if err != nil || got[0].IsZero() {
		return record{}, cause
	}
	v, err := decode(got[0])
	switch {
	case err != nil:
		return record{}, err
	case v.State == pending:
		return record{}, cause // not stored, or not yet
	case v.Subject != drawn:
		return record{}, errSpent
	}
	return v, nil
}

// account returns the account of v's address, making it where that is allowed.
func (s *Service) account(ctx context.Context, v record, allowSignUp bool) (u users.User, isNew bool, err error) {
	u, err = s.deps.Accounts.ByEmail(ctx, v.Identity)
	if errors.Is(err, users.ErrNotFound) && allowSignUp {
		u, err = s.deps.Accounts.Create(ctx, users.User{
			Subject: v.Subject, Email: v.Email, EmailKey: v.Identity, EmailVerified: true,
		})
		isNew = err == nil
		if errors.Is(err, users.ErrEmailTaken) {
			// Another verification of the same address was faster.
			u, err = s.deps.Accounts.ByEmail(ctx, v.Identity)
		}
	}
	switch {
	case errors.Is(err, users.ErrNotFound):
		return users.User{}, false, ErrInvalid
	case err != nil:
		return users.User{}, false, unavailable("find the account", err)
	case u.Disabled:
		return users.User{}, false, ErrInvalid
	}
	return u, isNew, nil
}
