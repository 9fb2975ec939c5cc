package fositestore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

var (
	// ErrLost says that another request changed the grant first. Nothing of this
	// request took effect.
	ErrLost = errors.New("another request decided about this grant first")

	// ErrExists says that the grant to be created was created already: the same
	// decision was submitted twice.
	ErrExists = errors.New("this grant exists already")
)

const refreshPurpose secrets.Purpose = "refresh token"

// A Unit is one request's work on one grant. It belongs to one request and is
// used by one goroutine at a time.
type Unit struct {
	store *Store
	now   time.Time // the one moment at which this request is judged

	prev  storage.Record // as loaded; zero for a grant that this request creates
	grant *Grant
	dirty bool
	err   error // the first failure of the store

	spends  bool // this unit spends the grant's code
	rotates bool // this unit rotates its refresh token

	newID      string // the id for a grant made by this request, "" to draw one
	codeSecret []byte // of the code issued or presented by this request
	presented  uint32 // generation of the refresh token presented
	refreshing bool   // a refresh token was presented
	grace      bool   // a rotated token was presented within its grace
	reused     bool   // a spent code or token was presented; the grant is revoked

	audience      []string // narrows the access token's, if not empty
	accessExpires int64    // of the access token issued, unix seconds
}

type unitKey struct{}

// Begin returns a context that carries a new unit of work.
func (s *Store) Begin(ctx context.Context) (context.Context, *Unit) {
	u := &Unit{store: s, now: s.now()}
	return context.WithValue(ctx, unitKey{}, u), u
}

func unitOf(ctx context.Context) *Unit {
	u, ok := ctx.Value(unitKey{}).(*Unit)
	if !ok {
		// A fault of the program, not of a request: every caller of fosite begins a unit.
		panic("fositestore: no unit of work in the context; call Store.Begin first")
	}
	return u
}

// UnitOf returns the unit that ctx carries.
func UnitOf(ctx context.Context) *Unit { return unitOf(ctx) }

// Now is the moment at which this request is judged.
func (u *Unit) Now() time.Time { return u.now }

// Grant returns the grant as this request sees it, nil before one is loaded or
// made. Changes take effect by Commit.
func (u *Unit) Grant() *Grant { return u.grant }

// Err returns the first failure of the store in this unit: the answer is then an
// outage, whatever else went wrong.
func (u *Unit) Err() error { return u.err }

// Reused reports that a spent code or a rotated refresh token was presented.
func (u *Unit) Reused() bool { return u.reused }

// Refreshing reports that a refresh token was presented.
func (u *Unit) Refreshing() bool { return u.refreshing }

// NoteAccess records when the access token being issued ends, in unix seconds: its
// grant has to be kept that long.
func (u *Unit) NoteAccess(exp int64) {
	u.accessExpires = exp
	if u.grant != nil && !u.grace {
		u.grant.AccessExpires, u.dirty = exp*1000, true
	}
}

// NarrowAudience makes the access token be for some of the grant's resources only.
func (u *Unit) NarrowAudience(resources []string) { u.audience = resources }

// Audience returns the narrowed audience, or granted when nothing was narrowed.
func (u *Unit) Audience(granted []string) []string {
	if len(u.audience) > 0 {
		return u.audience
	}
	return granted
}

// AccessExpires is when the access token issued by this request ends, in unix
// seconds.
func (u *Unit) AccessExpires() int64 { return u.accessExpires }

// NameGrant sets the id of the grant that this request will create, so that a
// decision submitted twice makes one grant.
func (u *Unit) NameGrant(id string) { u.newID = id }

// Create begins a new grant. g's ID, state and creation time are set here.
func (u *Unit) Create(g Grant) *Grant {
	g.V, g.CreatedAt = 1, u.now.UnixMilli()
	g.ID = u.newID
	if g.ID == "" {
		g.ID = secrets.NewID()
	}
	u.grant, u.prev, u.dirty = &g, storage.Record{}, true
	return u.grant
}

// load reads the grant once per unit.
func (u *Unit) load(ctx context.Context, id string) error {
	if u.grant != nil && u.grant.ID == id {
		return nil
	}
	records, err := u.store.records.Get(ctx, storage.Key{Kind: storage.Grant, ID: id})
	if err != nil {
		u.err = fmt.Errorf("load grant: %w", err)
		return u.err
	}
	return u.take(records[0])
}

func (u *Unit) take(r storage.Record) error {
	if r.IsZero() {
		return errNoGrant
	}
	g, err := decodeGrant(r)
	if err != nil {
		u.err = err
		return err
	}
	u.prev, u.grant, u.dirty = r, g, false
	return nil
}

var errNoGrant = errors.New("no such grant")

// Revoke ends the grant and everything born of it, by Commit.
func (u *Unit) Revoke() {
	if u.grant != nil && u.grant.State != stateRevoked {
		u.grant.State, u.dirty = stateRevoked, true
	}
}

// Commit stores what the unit decided. It does nothing when nothing was decided,
// returns ErrLost (or ErrExists for a new grant) when another request was first,
// and any other error when the outcome is not known to be stored.
func (u *Unit) Commit(ctx context.Context) error {
	if u.err != nil {
		return u.err
	}
	if !u.dirty {
		return nil
	}
	version := storage.NewVersion()
	u.mark(base64.RawURLEncoding.EncodeToString(version[:]))
	r, err := u.grant.record(u.prev, version)
	if err != nil {
		return err
	}
	// The code is spent here; the refresh token is rotated here; the family is
	// revoked here.
	err = storage.Settle(ctx, u.store.records, r)
	switch {
	case err == nil:
		u.prev, u.dirty = r, false
		return nil
	case errors.Is(err, storage.ErrConflict):
		return u.lost()
	}
	return u.inquire(ctx, version, fmt.Errorf("store grant: %w", err))
}

// mark notes in the grant what this unit's Put decides.
func (u *Unit) mark(by string) {
	if u.prev.IsZero() {
		u.grant.MadeBy = by
	}
	if u.spends {
		u.grant.SpentBy = by
	}
	if u.rotates {
		u.grant.Rotations[len(u.grant.Rotations)-1].By = by
	}
}

func (u *Unit) lost() error {
	if u.prev.IsZero() {
		return ErrExists
	}
	return ErrLost
}

// inquire finds out what became of a Put whose reply was lost, after somebody else
// may have changed the grant again.
func (u *Unit) inquire(ctx context.Context, version storage.Version, cause error) error {
	records, err := u.store.records.Get(ctx, u.key())
	if err != nil || (records[0].Version == u.prev.Version) {
		u.err = cause // not known, or not stored (yet)
		return u.err
	}
	if records[0].IsZero() {
		return u.lost()
	}
	now, err := decodeGrant(records[0])
	if err != nil {
		u.err = err
		return err
	}
	if now.decidedBy(u, base64.RawURLEncoding.EncodeToString(version[:])) {
		u.prev, u.dirty = records[0], false
		return nil
	}
	return u.lost()
}

func (u *Unit) key() storage.Key { return storage.Key{Kind: storage.Grant, ID: u.grant.ID} }

// decidedBy reports whether the grant, as it is now, shows that the Put decided
// what the unit was to decide.
func (g *Grant) decidedBy(u *Unit, put string) bool {
	rotation, _ := g.rotation(u.presented)
	switch {
	case u.prev.IsZero():
		return g.MadeBy == put
	case u.spends:
		return g.SpentBy == put
	case u.rotates:
		return rotation.By == put
	}
	return g.State == stateRevoked // all that is left to decide
}

// issueCode draws the secret half of an authorization code.
func (u *Unit) issueCode() (string, error) {
	if u.newID == "" {
		u.newID = secrets.NewID()
	}
	id, err := base64.RawURLEncoding.DecodeString(u.newID)
	if err != nil {
		return "", fmt.Errorf("grant id: %w", err)
	}
	u.codeSecret = make([]byte, 32)
	rand.Read(u.codeSecret) // crypto/rand.Read never fails
	return base64.RawURLEncoding.EncodeToString(append(id, u.codeSecret...)), nil
}

// loadByCode loads the grant of an authorization code. A code that is none, or
// whose secret half is wrong, is errNoGrant.
func (u *Unit) loadByCode(ctx context.Context, code string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(code)
	if err != nil || len(raw) != 48 || len(code) != 64 {
		return errNoGrant
	}
	if err := u.load(ctx, base64.RawURLEncoding.EncodeToString(raw[:16])); err != nil {
		return err
	}
	hash := sha256.Sum256(raw[16:])
	if subtle.ConstantTimeCompare(hash[:], u.grant.CodeHash) != 1 {
		return errNoGrant
	}
	return nil
}

// issueRefresh returns the refresh token that this request answers with: the
// family's current one within the grace period, otherwise the next one.
func (u *Unit) issueRefresh() (string, error) {
	if !u.grace {
		p := u.store.policy
		u.rotates = u.grant.Generation > 0
		u.grant.rotate(u.now, p.RefreshGrace)
		u.grant.Kid = u.store.secrets.Current()
		if u.grant.RefreshMax == 0 {
			u.grant.RefreshMax = u.now.Add(p.RefreshMax).UnixMilli()
		}
		u.grant.RefreshIdle = u.now.Add(p.RefreshIdle).UnixMilli()
		u.dirty = true
	}
	return u.CurrentRefresh()
}

// CurrentRefresh says the family's current refresh token. It is derived, not
// stored: grant id, generation and a MAC.
func (u *Unit) CurrentRefresh() (string, error) {
	id, err := base64.RawURLEncoding.DecodeString(u.grant.ID)
	if err != nil {
		return "", fmt.Errorf("grant id: %w", err)
	}
	payload := binary.BigEndian.AppendUint32(id, u.grant.Generation)
	return u.store.secrets.HandleUnder(u.grant.Kid, refreshPurpose, payload)
}

// ParseRefresh returns the grant id and generation of a refresh token that this
// deployment made, without reading the store.
func (s *Store) ParseRefresh(token string) (id string, generation uint32, ok bool) {
	payload, _, err := s.secrets.ParseHandle(refreshPurpose, token)
	if err != nil || len(payload) != 20 {
		return "", 0, false
	}
	return base64.RawURLEncoding.EncodeToString(payload[:16]), binary.BigEndian.Uint32(payload[16:]), true
}

// loadByRefresh loads the grant of a refresh token and notes which generation it
// is of.
func (u *Unit) loadByRefresh(ctx context.Context, token string) error {
	id, generation, ok := u.store.ParseRefresh(token)
	if !ok {
		return errNoGrant
	}
	u.presented, u.refreshing = generation, true
	return u.load(ctx, id)
}

// inGrace reports whether the presented generation was rotated so recently that
// it still gets the family's current token.
func (u *Unit) inGrace() bool {
	// Without a grace nobody is in it, not even a request that began before the
	// rotation it lost to.
	r, ok := u.grant.rotation(u.presented)
	return ok && u.store.policy.RefreshGrace > 0 && u.now.Before(time.UnixMilli(r.At).Add(u.store.policy.RefreshGrace))
}

// Rejoin is for a refresh that lost the race: it reads the grant again and, if
// the presented token is now within its grace, returns the successor that the
// winner was given. Otherwise it returns ErrLost.
func (u *Unit) Rejoin(ctx context.Context) (string, error) {
	id := u.grant.ID
	u.grant, u.dirty = nil, false
	if err := u.load(ctx, id); errors.Is(err, errNoGrant) {
		return "", ErrLost
	} else if err != nil {
		return "", err
	}
	if !u.grant.Active() || !u.inGrace() {
		return "", ErrLost
	}
	return u.CurrentRefresh()
}
