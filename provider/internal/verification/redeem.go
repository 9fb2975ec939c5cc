package verification

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/internal/pkce"
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
	Code     string // digits, as typed; nothing is forgiven here but PadZeros
	PadZeros bool   // Code may have been a number that has lost its leading zeros
	Verifier string // PKCE, when the verification was started with a challenge

	// Scopes may name less than the verification was started with. Empty means all.
	Scopes []string

	// AllowSignUp lets an address without an account become one.
	AllowSignUp bool

	// DeviceID is what the device calls itself, "" when it does not. An Ownership that
	// was started with one is accepted from that device only.
	DeviceID string

	// Once names the request: of an Ownership, the same request sent again gets the same
	// answer. Nil for a request that has no name.
	Once []byte

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
	j, err := s.judge(ctx, t, SignIn)
	if err != nil {
		return Proof{}, err
	}
	v, err := s.use(ctx, j, spent)
	if errors.Is(err, errSpent) {
		j.tries.refund(ctx)
		return Proof{}, ErrInvalid
	}
	if err != nil {
		return Proof{}, unavailable("spend", err)
	}
	s.succeeded(ctx, j, t)

	user, isNew, err := s.account(ctx, v, t.AllowSignUp)
	if err != nil {
		return Proof{}, err
	}
	return Proof{ID: j.id, User: user, Scopes: j.scopes, At: j.now, State: v.Request, New: isNew}, nil
}

// judged is a try whose code is right.
type judged struct {
	id     string
	rec    storage.Record
	v      record
	scopes []string
	tries  tries
	now    time.Time
}

// judge counts the try and compares the code. Whether the code was used before is
// for the caller to find out, by using it.
func (s *Service) judge(ctx context.Context, t Try, purpose Purpose) (judged, error) {
	id, ok := t.ID, true
	if id == "" {
		id, ok = s.openHandle(handlePurpose, t.Handle)
	}
	if !ok {
		return judged{}, ErrInvalid
	}
	now := s.cfg.Now()
	rec, v, device, ok, err := s.readWith(ctx, id, t.DeviceID, now)
	if err != nil {
		return judged{}, err
	}
	code, err := s.code(v, id)
	if missing := len(code) - len(t.Code); t.PadZeros && missing > 0 && t.Code != "" {
		t.Code = strings.Repeat("0", missing) + t.Code
	}
	if !ok || err != nil || !isCode(t.Code, len(code)) { // err: its secret was withdrawn, no code is right
		return judged{}, ErrInvalid
	}
	bound := v.Purpose == purpose && s.boundTo(v, t)
	scopes, within := narrow(v.Scopes, t.Scopes)
	if bound && !within {
		return judged{}, ErrScope
	}
	j := judged{id: id, rec: rec, v: v, scopes: scopes, tries: s.tries(id, v, t.Source, device, now), now: now}
	over, err := j.tries.count(ctx)
	if err != nil {
		return judged{}, err
	}
	if over != "" {
		s.cfg.Logger.InfoContext(ctx, "verification: a try over a limit was refused", "limit", over, "client", v.Client)
		return judged{}, ErrInvalid
	}
	right := subtle.ConstantTimeCompare([]byte(code), []byte(t.Code)) == 1
	if !right || !bound {
		return judged{}, ErrInvalid
	}
	return j, nil
}

// code is what the person has to type.
func (s *Service) code(v record, id string) (string, error) {
	if code, ok := s.cfg.InsecureTestCodes[v.Identity]; ok {
		return code, nil
	}
	return v.code(s.deps.Secrets, id)
}

// succeeded is what follows from a right code, once it is used. Losing it loses
// nothing but comfort.
func (s *Service) succeeded(ctx context.Context, j judged, t Try) {
	j.tries.forgive(ctx)
	if err := s.deps.Devices.Remember(ctx, t.DeviceID, j.v.Identity); err != nil {
		s.cfg.Logger.WarnContext(ctx, "verification: a device was not remembered", "err", err)
	}
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
func (s *Service) boundTo(v record, t Try) bool {
	if v.Client != t.ClientID {
		return false
	}
	if v.Purpose == Ownership {
		return t.Handle != "" && t.Browser == nil && (v.Device == "" || v.Device == s.deps.Devices.Key(t.DeviceID).ID)
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

// use makes a pending verification one in the state next, and draws its subject.
// Of any number of callers one gets nil, the others errSpent; any other error
// leaves it open.
//
// The subject is drawn here, whether or not it will be needed: making the account
// can then be repeated without making a second one.
func (s *Service) use(ctx context.Context, j judged, next string, more ...func(*record)) (record, error) {
	drawn := ""
	return s.turn(ctx, j.rec, func(v *record) error {
		if v.State != pending {
			return errSpent
		}
		drawn = secrets.NewID()
		v.State, v.Subject = next, drawn
		for _, change := range more {
			change(v)
		}
		return nil
	}, func(v record) bool { return v.Subject == drawn })
}

// turn changes the verification that was read as rec. change returns errSpent when
// somebody was faster; mine recognises what change has written, should the reply to
// the Put be lost.
func (s *Service) turn(ctx context.Context, rec storage.Record, change func(*record) error, mine func(record) bool) (record, error) {
	changed := func(cur storage.Record) (storage.Record, error) {
		v, err := decode(cur)
		if err != nil {
			return cur, err
		}
		if err := change(&v); err != nil {
			return cur, err
		}
		return v.into(cur)
	}
	next, err := changed(rec)
	if err != nil {
		return record{}, err
	}
	next.Prev, next.Version = rec.Version, storage.NewVersion()
	err = storage.Settle(ctx, s.deps.Store, next) // the code, or the token, is spent here
	if errors.Is(err, storage.ErrConflict) {
		// Somebody has changed the record since it was read. If that was a resend
		// and not another redeemer, the code is still there to be spent.
		next, err = storage.Update(ctx, s.deps.Store, rec.Key, func(cur storage.Record) (storage.Record, error) {
			if cur.IsZero() {
				return cur, errSpent // expired meanwhile
			}
			return changed(cur)
		})
	}
	if errors.Is(err, storage.ErrUnavailable) {
		return s.inquire(ctx, rec, mine, err)
	}
	if err != nil {
		return record{}, err
	}
	return decode(next)
}

// inquire finds out who changed the verification, read as rec, when the reply to
// the Put was lost.
func (s *Service) inquire(ctx context.Context, rec storage.Record, mine func(record) bool, cause error) (record, error) {
	got, err := s.deps.Store.Get(ctx, rec.Key)
	if err != nil || got[0].IsZero() {
		return record{}, cause
	}
	v, err := decode(got[0])
	if err != nil {
		return record{}, err
	}
	before, err := decode(rec)
	switch {
	case err != nil:
		return record{}, err
	case v.State == before.State:
		return record{}, cause // not stored, or not yet
	case mine(v):
		return v, nil
	}
	return record{}, errSpent
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
	if !u.EmailVerified {
		if u, err = s.deps.Accounts.Prove(ctx, u); err != nil {
			return users.User{}, false, unavailable("prove the account", err)
		}
	}
	return u, isNew, nil
}
