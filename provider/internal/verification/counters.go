package verification

import (
	"context"
	"net/netip"
	"time"

	"github.com/lettergate/lettergate/provider/internal/ratelimit"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// The counters are named here and nowhere else:
//
//	send/source/<pseudonym of the network>            10 min
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
	sendPurpose    secrets.Purpose = "send source"
	sourcePurpose  secrets.Purpose = "try source"
	accountPurpose secrets.Purpose = "try account"

	accountWindow = 24 * time.Hour

	// The classes of tries: from a browser or device that has not signed in to the
	// account before, and from one that has. A stranger cannot use up the owner's, nor
	// can whoever once signed in from another device.
	stranger = "stranger"
	known    = "known"
)

// SourceWindow is how long what came from one source is counted together.
const SourceWindow = 10 * time.Minute

// sends is the counter of the mails that one source asks for.
func (s *Service) sends(source netip.Addr) ratelimit.Counter {
	return ratelimit.Counter{
		Name:  "mails of a source",
		Key:   storage.Key{Kind: storage.Counter, ID: "send/source/" + s.deps.Secrets.Pseudonym(sendPurpose, ratelimit.Network(source))},
		Limit: int64(s.cfg.TriesPerSource), Window: SourceWindow,
	}
}

// countSend counts a mail before it is queued, or returns ErrTooMany.
func (s *Service) countSend(ctx context.Context, source netip.Addr) error {
	over, err := ratelimit.Count(ctx, s.deps.Store, s.sends(source))
	if err != nil {
		return unavailable("count a mail", err)
	}
	if over != "" {
		s.cfg.Logger.InfoContext(ctx, "verification: a mail over a limit was not sent", "limit", over)
		return ErrTooMany
	}
	return nil
}

// tries are the counters of one try, in the order in which they are asked. The zero
// tries count nothing.
type tries struct {
	store                  storage.Store
	source, verif, account ratelimit.Counter
	mail                   ratelimit.Counter // that brought the code, if it was asked for from here
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
		mail:  s.sends(source),
		source: ratelimit.Counter{
			Name: "source", Key: named("source/" + ring.Pseudonym(sourcePurpose, ratelimit.Network(source))),
			Limit: int64(s.cfg.TriesPerSource), Window: SourceWindow,
		},
		verif: ratelimit.Counter{
			Name: "verification", Key: named("verification/" + id),
			Limit: int64(s.cfg.TriesPerVerification), Window: time.UnixMilli(v.Expires).Sub(now),
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
	if t.store == nil {
		return "", nil
	}
	over, err = ratelimit.Count(ctx, t.store, t.source, t.verif, t.account)
	if err != nil {
		return "", unavailable("count a try", err)
	}
	return over, nil
}

// forgive clears what a success pays for: the account's count of this class, and
// the one try of the source and its mail, so that many people behind one address are
// not taken for one who tries much. It comes after the code is spent.
func (t tries) forgive(ctx context.Context) {
	if t.store != nil {
		t.account.Clear(ctx, t.store)
		t.source.GiveBack(ctx, t.store)
		t.mail.GiveBack(ctx, t.store)
	}
}

// refund takes back the try of a right code that came second. It was no guess.
// The source keeps it, so that a spent code cannot be replayed without end.
func (t tries) refund(ctx context.Context) {
	if t.store != nil {
		t.account.GiveBack(ctx, t.store)
		t.verif.GiveBack(ctx, t.store)
	}
}
