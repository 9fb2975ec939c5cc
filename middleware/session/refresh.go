package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

const (
	// flightTime bounds a refresh with all that the store has to do for it.
	flightTime = 3 * callTimeout
	// patience is how long a request waits for a refresh that it could do without.
	patience = 2 * time.Second
	// retryAfter is the least time between a refresh that failed and the next one of
	// the same session.
	retryAfter = 5 * time.Second
)

// A flight is one refresh, taken by all requests that need it. Its outcome is kept
// for a while: a browser sends requests with the old cookie until it has seen the
// new one, and their refresh token is spent already.
type flight struct {
	done chan struct{}
	// What follows is set before done is closed.
	next  held
	err   error
	retry time.Time // not again before this, after an outage
}

func (f *flight) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// renewed returns the session of h with tokens that are not due. The error is
// errEnded when it is over, errOutage when it cannot be renewed at the moment.
func (s *Sessions) renewed(ctx context.Context, h held) (held, error) {
	// A cookie may be so old that what replaced it is due as well.
	for range 10 {
		next, err := s.await(ctx, h)
		if err != nil || !next.due(s.now()) {
			return next, err
		}
		h = next
	}
	return h, nil
}

// await takes part in one flight.
func (s *Sessions) await(ctx context.Context, h held) (held, error) {
	f := s.join(h)
	var late <-chan time.Time
	if h.alive(s.now()) {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-f.done:
		return f.next, f.err
	case <-late:
		return held{}, outage(errors.New("the refresh takes long"))
	case <-ctx.Done():
		return held{}, outage(ctx.Err())
	}
}

// join returns the flight that renews h, and starts it if there is none. It runs on
// its own, so a browser that goes away does not spoil it for the others.
func (s *Sessions) join(h held) *flight {
	now := s.now()
	return s.renewals.update(now, s.keep.flight(h), func(f *flight, known bool) *flight {
		if known && (!f.ended() || !s.again(f, h, now)) {
			return f
		}
		f = &flight{done: make(chan struct{})}
		go s.fly(f, h)
		return f
	})
}

// again says whether a flight that has ended is of no more use for h.
func (s *Sessions) again(f *flight, h held, now time.Time) bool {
	switch {
	case errors.Is(f.err, errEnded):
		return false
	case f.err != nil:
		return !now.Before(f.retry) || now.Before(f.retry.Add(-retryAfter))
	case h.id != "":
		return true // the store knows better
	}
	// From an issuer that does not rotate, the next refresh has the same name.
	return f.next.Refresh == h.Refresh && f.next.due(now)
}

func (s *Sessions) fly(f *flight, h held) {
	ctx, cancel := context.WithTimeout(context.Background(), flightTime)
	defer cancel()
	defer close(f.done)
	err := func() (err error) {
		defer recovered(&err)
		f.next, err = s.keep.renew(ctx, h, s.fetch)
		return err
	}()
	switch {
	case err == nil:
	case errors.Is(err, errEnded):
		f.err = err
		s.log.Info("a session has ended: the issuer does not renew it", "err", err)
	default:
		f.err, f.retry = outage(err), s.now().Add(retryAfter)
		s.log.Warn("a session could not be renewed; it is kept", "err", err)
	}
}

// fetch gets new tokens for a session.
func (s *Sessions) fetch(ctx context.Context, st state) (state, error) {
	got, err := s.issuer.refresh(ctx, st.Refresh)
	if err != nil {
		return state{}, err
	}
	if got.id != "" {
		before, err := oauth.InsecureReadIDToken(st.IDToken)
		if err != nil {
			return state{}, fmt.Errorf("%w: %w", errEnded, err)
		}
		_, err = s.issuer.tokens.VerifyRefreshed(ctx, got.id, before, got.access)
		switch {
		case errors.Is(err, oauth.ErrInvalidToken):
			return state{}, fmt.Errorf("%w: the ID token of a refresh: %w", errEnded, err)
		case err != nil:
			got.id = "" // the refresh token is spent: go on with what was known before
		}
	}
	return st.with(got, s.now()), nil
}
