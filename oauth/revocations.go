package oauth

import (
	"container/list"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultRevocations = 100_000
	maxRevocations     = 10_000_000
)

var errRevoked = errors.New("the token, its session or its subject has been ended")

// RevocationsConfig has a default for everything.
type RevocationsConfig struct {
	// Limit is how many ended sessions, subjects and tokens are remembered one by
	// one. Default 100,000. See [Revocations] for what happens then.
	Limit int
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Revocations are what one issuer ended before its time: sessions by back-channel
// logout, users by an administrator, single tokens. A [JWTVerifier] that is given
// them refuses such tokens from the next request on, those that it remembers too.
// Without them it accepts a token until it expires.
//
// They are in the memory of this process: who runs several tells each of them, and
// after a start tells it again what was ended within the life of a token. The
// memory has a bound. When it is reached, the oldest revocation is given up, and
// every token that was issued before it is refused instead, whoever it belongs to,
// so that nothing revoked comes back. Nobody notices as long as Limit is more than
// what is ended within the life of an access token.
//
// All methods are safe for concurrent use. A nil *Revocations has revoked nothing.
type Revocations struct {
	generation atomic.Uint64 // counts revocations, and moves only after one can be seen
	now        func() time.Time

	limit   int
	mu      sync.RWMutex
	ended   map[endedThing]*list.Element // of order
	order   list.List                    // of *ending, the oldest first
	floor   int64                        // tokens issued up to then are refused, in Unix seconds
	changed chan struct{}                // closed by the next revocation; nil when nobody waits
}

// An endedThing is a session, subject or token by its claim.
type endedThing struct{ claim, value string }

type ending struct {
	thing    endedThing
	issued   int64 // its tokens that were issued up to then have ended, in Unix seconds
	recorded int64
}

// NewRevocations returns an empty list, or an error that says which setting is wrong.
func NewRevocations(cfg RevocationsConfig) (*Revocations, error) {
	if cfg.Limit == 0 {
		cfg.Limit = defaultRevocations
	}
	if cfg.Limit < 0 || cfg.Limit > maxRevocations {
		return nil, fmt.Errorf("oauth: a limit of %d revocations is not between 1 and %d", cfg.Limit, maxRevocations)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Revocations{
		now:   cfg.Now,
		limit: cfg.Limit,
		ended: make(map[endedThing]*list.Element),
		floor: math.MinInt64,
	}, nil
}

// EndSession ends all tokens of a session, by "sid". An empty one is nobody's.
func (r *Revocations) EndSession(sid string) { r.end("sid", sid, math.MaxInt64) }

// EndToken ends one token, by "jti". An empty one is nobody's.
func (r *Revocations) EndToken(jti string) { r.end("jti", jti, math.MaxInt64) }

// EndSubject ends the tokens of a subject, by "sub", that were issued up to a time
// by the issuer's clock, such as "iat" of a logout token, in whole seconds. Tokens
// that the subject gets later are good. A time in the future counts as now.
func (r *Revocations) EndSubject(sub string, issued time.Time) {
	latest := r.now().Add(maxLeeway) // their clock may be ahead
	if issued.After(latest) {
		issued = latest
	}
	r.end("sub", sub, issued.Unix())
}

func (r *Revocations) end(claim, value string, issued int64) {
	if value == "" {
		return
	}
	e := &ending{endedThing{claim, strings.Clone(value)}, issued, r.now().Unix()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.ended[e.thing]; ok {
		e.issued = max(e.issued, r.order.Remove(known).(*ending).issued)
	} else if len(r.ended) == r.limit {
		r.forgetOldest()
	}
	r.ended[e.thing] = r.order.PushBack(e)
	// Whoever sees the new number waits for mu, and then sees what it stands for.
	r.generation.Add(1)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// forgetOldest gives up the oldest ending, and what was issued before it.
func (r *Revocations) forgetOldest() {
	oldest := r.order.Remove(r.order.Front()).(*ending)
	delete(r.ended, oldest.thing)
	// What had been issued by then bears at most this date, by a clock that may be
	// ahead of ours.
	r.floor = max(r.floor, oldest.recorded+int64(maxLeeway/time.Second))
}

// Revoked says whether a token was ended before its time. The token has to be of
// the issuer whose revocations these are.
func (r *Revocations) Revoked(t *AccessToken) bool {
	if r == nil {
		return false
	}
	issued := t.issuedAt.Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if issued <= r.floor {
		return true
	}
	for _, thing := range [...]endedThing{{"sid", t.sessionID}, {"sub", t.subject}, {"jti", t.id}} {
		if end, ok := r.ended[thing]; ok && issued <= end.Value.(*ending).issued {
			return true
		}
	}
	return false
}

// current returns the number of revocations so far. Whoever has looked a token up
// need not do it again until the number moves.
func (r *Revocations) current() uint64 {
	if r == nil {
		return 0
	}
	return r.generation.Load()
}

// next returns a channel that the next revocation closes, nil when there will be
// none.
func (r *Revocations) next() <-chan struct{} {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}
