package password

import (
	"context"
	"net/netip"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// The counters of tries are named here and nowhere else:
//
//	password/source/<pseudonym of the network>                      10 min
//	password/account/stranger/<pseudonym of the identity>           24 h
//	password/account/known/<pseudonym of the identity and device>   24 h
//
// They are to passwords what those of package verification are to codes, and
// count apart from them. A window begins with its first try and is never extended.
const (
	sourcePurpose  secrets.Purpose = "password source"
	accountPurpose secrets.Purpose = "password account"

	sourceWindow  = 10 * time.Minute
	accountWindow = 24 * time.Hour

	// The classes of tries: from a device that has not signed in to the account
	// before, and from one that has. A stranger cannot use up the owner's, nor can
	// whoever once signed in from another device.
	stranger = "stranger"
	known    = "known"
)

// tries are the counters of one try, in the order in which they are asked.
type tries struct {
	store   storage.Store
	source  counter
	account counter
}

type counter struct {
	name  string // for the log
	key   storage.Key
	limit int64
	life  time.Duration
}

func (s *Service) tries(t Try, device storage.Record) tries {
	class, who, perAccount := stranger, t.Identity, s.cfg.TriesPerAccount
	if s.deps.Devices.Known(device, t.Identity) {
		class, who, perAccount = known, t.Identity+"\x00"+device.Key.ID, s.cfg.TriesPerKnownAccount
	}
	named := func(id string) storage.Key { return storage.Key{Kind: storage.Counter, ID: "password/" + id} }
	ring := s.deps.Secrets
	return tries{
		store: s.deps.Store,
		source: counter{
			"source", named("source/" + ring.Pseudonym(sourcePurpose, network(t.Source))),
			int64(s.cfg.TriesPerSource), sourceWindow,
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
	for _, c := range []counter{t.source, t.account} {
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
// the one try of the source. What the store fails to do here only leaves a limit
// lower than it could be.
func (t tries) forgive(ctx context.Context) {
	_ = t.store.Delete(ctx, t.account.key)
	_, _ = t.store.Add(ctx, t.source.key, -1, t.source.life)
}

// refund takes back a try that was counted and not compared. The source keeps it:
// it has a part in keeping us busy.
func (t tries) refund(ctx context.Context) {
	_, _ = t.store.Add(ctx, t.account.key, -1, t.account.life)
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
