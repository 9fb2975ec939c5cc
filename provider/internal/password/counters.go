package password

import (
	"context"
	"time"

	"github.com/lettergate/lettergate/provider/internal/ratelimit"
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
	store           storage.Store
	source, account ratelimit.Counter
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
		source: ratelimit.Counter{
			Name: "source", Key: named("source/" + ring.Pseudonym(sourcePurpose, ratelimit.Network(t.Source))),
			Limit: int64(s.cfg.TriesPerSource), Window: sourceWindow,
		},
		account: ratelimit.Counter{
			Name: "account", Key: named("account/" + class + "/" + ring.Pseudonym(accountPurpose, who)),
			Limit: int64(perAccount), Window: accountWindow,
		},
	}
}

// count counts a try before anything is compared and returns which limit it is over,
// "" for none.
func (t tries) count(ctx context.Context) (over string, err error) {
	over, err = ratelimit.Count(ctx, t.store, t.source, t.account)
	if err != nil {
		return "", unavailable("count a try", err)
	}
	return over, nil
}

// forgive clears what a success pays for: the account's count of this class, and
// the one try of the source.
func (t tries) forgive(ctx context.Context) {
	t.account.Clear(ctx, t.store)
	t.source.GiveBack(ctx, t.store)
}

// refund takes back a try that was counted and not compared. The source keeps it:
// it has a part in keeping us busy.
func (t tries) refund(ctx context.Context) { t.account.GiveBack(ctx, t.store) }
