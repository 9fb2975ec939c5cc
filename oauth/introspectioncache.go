package oauth

import (
	"crypto/sha256"
	"errors"
	"time"
)

const (
	// An answer over this size is not remembered, so that their number bounds the
	// memory.
	maxKeptAnswer = 4 << 10
	// Of so many answers the oldest makes room for a new one.
	evictionSample = 8
)

// A tokenDigest names a token without being one.
type tokenDigest [sha256.Size]byte

// An answer is what the issuer said about a good token.
type answer struct {
	token *AccessToken
	asked time.Time
}

// A question is one that is open at the issuer. token and err are there when done is
// closed.
type question struct {
	asked time.Time // when it was opened; the answer is not older than that
	done  chan struct{}
	token *AccessToken
	err   error
}

// recall returns what is known about a token if it is not older than maxAge, or else
// the question that will bring it. With first, the caller is the one to put it.
func (v *IntrospectionVerifier) recall(digest tokenDigest, maxAge time.Duration) (known *AccessToken, q *question, first bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	young := func(asked time.Time) bool {
		age := now.Sub(asked)
		return age >= 0 && age < maxAge // a negative age is a clock that was set back
	}
	if a, ok := v.answers[digest]; ok && young(a.asked) && (a.token.expiresAt.IsZero() || now.Before(a.token.expiresAt)) {
		return a.token, nil, false
	}
	// Who wants an answer of now cannot use one that may have been given before.
	if q, ok := v.open[digest]; ok && young(q.asked) {
		return nil, q, false
	}
	q = &question{asked: now, done: make(chan struct{})}
	v.open[digest] = q
	return nil, q, true
}

// settle ends a question, and remembers the answer if it is about a good token.
func (v *IntrospectionVerifier) settle(q *question, digest tokenDigest, token *AccessToken, size int, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	q.token, q.err = token, err
	newest := v.open[digest] == q
	if newest {
		delete(v.open, digest)
	}
	// A slow answer does not undo a later one. Where the later one was that the token is
	// bad, nothing is left of it to compare with: so only who asked last is believed.
	if a, ok := v.answers[digest]; !ok || !a.asked.After(q.asked) {
		switch {
		case token != nil && size <= maxKeptAnswer:
			if newest {
				v.keep(digest, &answer{token, q.asked})
			}
		case !errors.Is(err, ErrUnavailable):
			delete(v.answers, digest)
		}
	}
	close(q.done)
}

// keep puts an answer in. When there is no room, the oldest of a few goes: the map is
// walked in no particular order, so they are as good as drawn by lot.
func (v *IntrospectionVerifier) keep(digest tokenDigest, a *answer) {
	if _, ok := v.answers[digest]; !ok && len(v.answers) >= v.cfg.Answers {
		var oldest tokenDigest
		looked := 0
		for other, b := range v.answers {
			if looked == 0 || b.asked.Before(v.answers[oldest].asked) {
				oldest = other
			}
			if looked++; looked == evictionSample {
				break
			}
		}
		delete(v.answers, oldest)
	}
	v.answers[digest] = a
}
