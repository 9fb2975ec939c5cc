package fositestore

import (
	"context"
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
	ends    bool // this unit ends the grant
	ended   bool // and its Put did, nobody else's

	keep       time.Time // how long the record of a named grant is kept at least
	newID      string    // the id for a grant made by this request, "" to draw one
	codeSecret []byte    // of the code issued or presented by this request
	presented  uint32    // generation of the refresh token presented
	refreshing bool      // a refresh token was presented
	grace      bool      // a rotated token was presented within its grace
	reused     bool      // a spent code or token was presented; the grant is revoked

	audience      []string // narrows the access token's, if not empty
	accessExpires int64    // of the access token issued, unix seconds
}

type unitKey struct{}

// Begin returns a context that carries a new unit of work.
func (s *Store) Begin(ctx context.Context) (context.Context, *Unit) {
	u := &Unit{store: s, now: s.now()}
	return context.WithValue(ctx, unitKey{}, u), u
}

// UnitOf returns the unit that ctx carries.
func UnitOf(ctx context.Context) *Unit {
	u, ok := ctx.Value(unitKey{}).(*Unit)
	if !ok {
		// A fault of the program, not of a request: every caller of fosite begins a unit.
		panic("fositestore: no unit of work in the context; call Store.Begin first")
	}
	return u
}

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

// Ended reports, after Commit, that the grant was revoked by this unit and not by
// somebody else at the same time.
func (u *Unit) Ended() bool { return u.ended }

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

// Spends reports that this request spends the grant's code.
func (u *Unit) Spends() bool { return u.spends }

// NameGrant sets the id of the grant that this request will create, so that a
// decision submitted twice makes one grant: its record is kept until the decision
// cannot be submitted any more, whatever becomes of the code.
func (u *Unit) NameGrant(id string, until time.Time) { u.newID, u.keep = id, until }

// Create begins a new grant in the state that g has; its id and times are set here.
func (u *Unit) Create(g Grant) *Grant {
	g.V, g.CreatedAt = 1, u.now.UnixMilli()
	g.ID = u.newID
	if g.ID == "" {
		g.ID = secrets.NewID()
	}
	if !u.keep.IsZero() {
		g.Keep = u.keep.UnixMilli()
	}
	u.grant, u.prev, u.dirty = &g, storage.Record{}, true
	return u.grant
}

// BeginActive makes the grant of an authentication that needed no code: tokens are
// issued in the same request.
func (u *Unit) BeginActive(g Grant) *Grant {
	g.State = stateActive
	return u.Create(g)
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

// Resume loads an active grant to issue its tokens once more: a fresh access token
// and the current refresh token, and nothing to store. found is false when there is
// none.
func (u *Unit) Resume(ctx context.Context, id string) (found bool, err error) {
	err = u.load(ctx, id)
	if errors.Is(err, errNoGrant) || err == nil && !u.grant.Active() {
		return false, nil
	}
	u.grace = true
	return err == nil, err
}

// Revoke ends the grant and everything born of it, by Commit.
func (u *Unit) Revoke() {
	if u.grant != nil && u.grant.State != stateRevoked {
		u.grant.State, u.dirty, u.ends = stateRevoked, true, true
	}
}
