package verification

import (
	"context"
	"net/netip"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// The counters of tries are named here and nowhere else:
//
//	try/source/<pseudonym of the network>             10 min
//	try/verification/<id>                             the rest of its life
//	try/account/stranger/<pseudonym of the identity>  24 h
//	try/account/known/<of the identity and device>    24 h
//
// Names and addresses appear as pseudonyms, so that a copy of the store does not
// tell who tried to sign in. A window begins with its first try and is never
// extended. The account's counter hangs on the identity and not on an account, a
// client or a verification: unknown addresses count alike, and nothing that can
// be had by asking again begins a new count.
const (
	sourcePurpose  secrets.Purpose = "try source"
	accountPurpose secrets.Purpose = "try account"

	sourceWindow  = 10 * time.Minute
	accountWindow = 24 * time.Hour

	// The classes of tries: from a browser or device that has not signed in to the
	// account before, and from one that has. A stranger cannot use up the owner's, nor
	// can whoever once signed in from another device.
	stranger = "stranger"
	known    = "known"
)

// tries are the counters of one try, in the order in which they are asked. The zero
// tries count nothing.
type tries struct {
	store   storage.Store
	source  counter
	verif   counter
	account counter
}

type counter struct {
	name  string // for the log
	key   storage.Key
	limit int64
	life  time.Duration
}

func (s *Service) tries(id string, v record, source netip.Addr, device storage.Record, now time.Time) tries {
	if _, test := s.cfg.InsecureTestCodes[v.Identity]; test {
		return tries{}
	}
	class, who, perAccount := stranger, v.Identity, s.cfg.TriesPerAccount
	if s.deps.Devices.Known(device, v.Identity) {
		class, who, perAccount = known, v.Identity+"\x00"+device.Key.ID, s.cfg.TriesPerKnownAccount
	}
	named := func(id string) storage.Key { return storage.Key{Kind: storage.Counter, ID: "try/" + id} }
	ring := s.deps.Secrets
	return tries{
		store: s.deps.Store,
		source: counter{
			"source", named("source/" + ring.Pseudonym(sourcePurpose, network(source))),
			int64(s.cfg.TriesPerSource), sourceWindow,
		},
		verif: counter{
			"verification", named("verification/" + id),
			int64(s.cfg.TriesPerVerification), time.UnixMilli(v.Expires).Sub(now),
		},
		account: counter{
			"account", named("account/" + class + "/" + ring.Pseudonym(accountPurpose, who)),
			int64(perAccount), accountWindow,
		},
	}
}

// count counts a try before anything is compared and returns which limit it is
// over, "" for none. It stops at the first counter that is over its limit: whoever has
// used up the budget of a source cannot use up the one of an account.
func (t tries) count(ctx context.Context) (over string, err error) {
	if t.store == nil {
		return "", nil
	}
	for _, c := range []counter{t.source, t.verif, t.account} {
		n, err := t.store.Add(ctx, c.key, 1, c.life)
		if err != nil {
			return "", unavailable("count a try", err)
		}
		if n > c.limit {
			return c.name, nil
		}
	}
	return "", nil
}

// forgive clears what a success pays for: the account's count of this class, and
// the one try of the source. It comes after the code is spent, so what the store
// fails to do here only leaves a limit lower than it could be.
func (t tries) forgive(ctx context.Context) {
	if t.store == nil {
		return
	}
	_ = t.store.Delete(ctx, t.account.key)
	_, _ = t.store.Add(ctx, t.source.key, -1, t.source.life)
}

// refund takes back the try of a right code that came second. It was no guess.
// The source keeps it, so that a spent code cannot be replayed without end.
func (t tries) refund(ctx context.Context) {
	if t.store == nil {
		return
	}
	_, _ = t.store.Add(ctx, t.account.key, -1, t.account.life)
	_, _ = t.store.Add(ctx, t.verif.key, -1, t.verif.life)
}

// network is what tries from one place have in common: an IPv4 address, or the
// /64 that one IPv6 subscriber has. What is no address is one place as well, so
// that a missing one does not switch the limit off.
func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return p.String()
}
