package oauth

import (
	"context"
	"errors"
	"time"
)

var errExpired = errors.New("the token has expired")

// longestSleep is how long [AccessToken.Context] relies on a timer, which stands
// still while a machine sleeps.
const longestSleep = time.Minute

// A lifetime is how the verifier of a token judges when it ends.
type lifetime struct {
	leeway      time.Duration
	now         func() time.Time
	revocations *Revocations
}

// Context returns a copy of parent that is cancelled when the token expires, by the
// clock and with the leeway of its verifier, or is revoked where the verifier has
// [Revocations]. The cause ([context.Cause]) is then [ErrInvalidToken] with the
// reason. It is for what outlives the check of the request: a stream of events, a
// WebSocket. Call cancel when that is over, to free what watches the token.
func (t *AccessToken) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	life := t.life
	if life == nil {
		life = &lifetime{now: time.Now}
	}
	ctx, end := context.WithCancelCause(parent)
	changed := life.revocations.next() // before the first look, to miss nothing
	if left, err := life.left(t); err != nil {
		end(invalid(err))
	} else {
		go life.watch(ctx, t, end, left, changed)
	}
	return ctx, func() { end(context.Canceled) }
}

// left returns how long the token is good if nobody revokes it, or why it is not.
func (l *lifetime) left(t *AccessToken) (time.Duration, error) {
	left := t.expiresAt.Add(l.leeway).Sub(l.now().Round(0))
	if t.expiresAt.IsZero() && t.claims != nil {
		left = longestSleep // a token whose issuer does not say when it ends
	}
	if left <= 0 {
		return 0, errExpired
	}
	if l.revocations.Revoked(t) {
		return 0, errRevoked
	}
	return left, nil
}

// watch ends ctx when the token ends, and returns when ctx has ended.
func (l *lifetime) watch(ctx context.Context, t *AccessToken, end context.CancelCauseFunc, left time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(min(left, longestSleep))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			changed = l.revocations.next()
		case <-timer.C:
		}
		left, err := l.left(t)
		if err != nil {
			end(invalid(err))
			return
		}
		timer.Reset(min(left, longestSleep))
	}
}
