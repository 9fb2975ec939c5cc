package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	// leaseLife is how long a process has the right to refresh a session. It is beyond
	// the time that a refresh may take.
	leaseLife = 2 * callTimeout
	// pollEvery is how often a process looks whether another one is done.
	pollEvery = 50 * time.Millisecond
	// noteLife is how long it is known that a group has ended: longer than from the
	// exchange of a code to the session in the store.
	noteLife = flowLife
	// putTries is how often a write is tried whose outcome is unknown.
	putTries = 5
)

// A storeKeeper has the session in a [Store] and gives the browser a secret; the
// record's name is a hash of it.
//
// A refresh token is used by one process at a time: whoever wants to use it first
// writes a lease into the record, and that Put is the one step that decides. The
// others wait until the record has changed. So an issuer that takes the second use
// of a refresh token for theft never sees one.
type storeKeeper struct{ *Sessions }

func recordID(secret string) string { return "session." + digest("session", secret) }

func (k storeKeeper) load(r *http.Request) (h held, old, ok bool, err error) {
	sealed, ok := untext(k.cookies.sessionValue(r))
	if !ok {
		return held{}, false, false, nil
	}
	secret, old, ok := k.sealer.open(k.cookies.session, sealed)
	if !ok {
		return held{}, false, false, nil
	}
	h, ok, err = k.get(r.Context(), recordID(string(secret)))
	return h, old, ok, err
}

// get reads a session. One that cannot be opened is none: its secret was retired.
func (k storeKeeper) get(ctx context.Context, id string) (held, bool, error) {
	record, err := k.cfg.Store.Get(ctx, id)
	if err != nil {
		return held{}, false, outage(fmt.Errorf("read the session: %w", err))
	}
	if record.ID != id || !k.now().Before(record.Expires) {
		return held{}, false, nil
	}
	data, _, ok := k.sealer.open(id, record.Value)
	if !ok {
		return held{}, false, nil
	}
	st, ok := decodeState(data)
	return held{state: st, id: id, version: record.Version}, ok, nil
}

// put stores h over the version that was read. When the answer of the store is
// lost, it finds out: the version is our own, so whoever finds it has won.
func (k storeKeeper) put(ctx context.Context, h held) (held, error) {
	record := Record{
		ID: h.id, Prev: h.version, Version: rand.Text(), Groups: h.groups(),
		Expires: time.UnixMilli(h.Ends), Value: k.sealer.seal(h.id, h.encode()),
	}
	h.version = record.Version
	err := k.write(ctx, record)
	return h, err
}

func (k storeKeeper) write(ctx context.Context, record Record) error {
	var err error
	for try := range putTries {
		if try > 0 {
			if waitErr := wait(ctx, time.Duration(try)*pollEvery); waitErr != nil {
				return outage(err)
			}
		}
		conflict := false
		if err = k.cfg.Store.Put(ctx, record); err == nil {
			return nil
		} else if conflict = errors.Is(err, ErrConflict); conflict && try == 0 {
			return ErrConflict
		}
		now, getErr := k.cfg.Store.Get(ctx, record.ID)
		switch {
		case getErr == nil && now.Version == record.Version:
			return nil
		case getErr == nil && conflict:
			return ErrConflict
		}
	}
	return outage(fmt.Errorf("store the session: %w", err))
}

// wait returns after d, or with the error of ctx.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k storeKeeper) begin(w http.ResponseWriter, r *http.Request, st state) error {
	secret := draw()
	h, err := k.put(r.Context(), held{state: st, id: recordID(secret)}) // the session begins here
	if err != nil {
		return err
	}
	if err := k.endedMeanwhile(r.Context(), st); err != nil {
		if err := k.end(r.Context(), h); err != nil {
			k.log.Warn("could not remove a session that nobody has", "err", err)
		}
		return err
	}
	before, _, ok, err := k.load(r)
	if ok && err == nil {
		err = k.end(r.Context(), before)
	}
	if err != nil { // it ends by itself
		k.log.Warn("could not end the browser's session before", "err", err)
	}
	return k.give(w, r, secret, st)
}

// give hands the browser the secret of its session.
func (k storeKeeper) give(w http.ResponseWriter, r *http.Request, secret string, st state) error {
	return k.cookies.setSession(w, r, text(k.sealer.seal(k.cookies.session, []byte(secret))), st.left(k.now()))
}

// show has nothing to tell after a refresh. It seals the cookie again when a secret
// is being retired.
func (k storeKeeper) show(w http.ResponseWriter, r *http.Request, h held) error {
	sealed, _ := untext(k.cookies.sessionValue(r))
	secret, old, ok := k.sealer.open(k.cookies.session, sealed)
	if !ok || !old {
		return nil
	}
	return k.give(w, r, string(secret), h.state)
}

func (k storeKeeper) flight(h held) string { return h.id }

func (k storeKeeper) renew(ctx context.Context, h held, fetch refresh) (held, error) {
	for ctx.Err() == nil {
		now := k.now()
		switch {
		case !h.due(now): // somebody else was faster
			return h, nil
		case now.UnixMilli() < h.Lease:
			if h.alive(now) {
				return h, nil // somebody else is at it, and there is no hurry
			}
			_ = wait(ctx, pollEvery) // the loop looks whether it was cut short
		default:
			h.Lease = now.Add(leaseLife).UnixMilli()
			leased, err := k.put(ctx, h) // the right to refresh is taken here
			if err == nil {
				return k.use(ctx, leased, fetch)
			}
			if !errors.Is(err, ErrConflict) {
				return held{}, err
			}
		}
		again, ok, err := k.get(ctx, h.id)
		if err != nil {
			return held{}, err
		}
		if !ok {
			return held{}, errEnded
		}
		h = again
	}
	return held{}, outage(errors.New("another process has not finished its refresh"))
}

// use refreshes a session whose lease is ours.
func (k storeKeeper) use(ctx context.Context, h held, fetch refresh) (held, error) {
	st, err := fetch(ctx, h.state)
	switch {
	case err == nil:
		h.state = st
	case errors.Is(err, errEnded):
		if err := k.end(ctx, h); err != nil {
			k.log.Warn("could not remove a session that is over", "err", err)
		}
		return held{}, err
	default:
		h.Lease = 0
		if _, err := k.put(ctx, h); err != nil {
			k.log.Warn("could not give back the right to refresh a session; it ends by itself", "err", err)
		}
		return held{}, err
	}
	stored, err := k.put(ctx, h)
	if !errors.Is(err, ErrConflict) {
		return stored, err
	}
	// It was ended meanwhile, or our clock is so wrong that somebody took it over.
	again, ok, err := k.get(ctx, h.id)
	if err == nil && !ok {
		err = errEnded
	}
	return again, err
}

func (k storeKeeper) end(ctx context.Context, h held) error {
	if err := k.cfg.Store.Delete(ctx, h.id); err != nil {
		return outage(fmt.Errorf("remove the session: %w", err))
	}
	return nil
}

// endGroup also ends the sessions that are about to be stored: it leaves a note first,
// and whoever stores a session looks for one after that.
func (k storeKeeper) endGroup(ctx context.Context, group string) error {
	if err := k.note(ctx, group); err != nil {
		return err
	}
	ids, err := k.cfg.Store.List(ctx, group)
	if err != nil {
		return outage(fmt.Errorf("list sessions: %w", err))
	}
	for _, id := range ids {
		if err := k.cfg.Store.Delete(ctx, id); err != nil {
			return outage(fmt.Errorf("remove a session: %w", err))
		}
	}
	return nil
}

func noteID(group string) string { return "ended." + digest("ended", group) }

// note writes down that a group has ended now.
func (k storeKeeper) note(ctx context.Context, group string) error {
	id := noteID(group)
	for range putTries {
		before, err := k.cfg.Store.Get(ctx, id)
		if err != nil {
			return outage(fmt.Errorf("read when sessions ended: %w", err))
		}
		now := k.now()
		value := k.sealer.seal(id, strconv.AppendInt(nil, now.UnixMilli(), 10))
		err = k.write(ctx, Record{ID: id, Prev: before.Version, Version: rand.Text(), Expires: now.Add(noteLife), Value: value})
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return outage(errors.New("store when sessions ended: others do so all the time"))
}

// endedMeanwhile returns errEnded when a group of st has ended since st began.
func (k storeKeeper) endedMeanwhile(ctx context.Context, st state) error {
	for _, group := range st.groups() {
		id := noteID(group)
		record, err := k.cfg.Store.Get(ctx, id)
		if err != nil {
			return outage(fmt.Errorf("read when sessions ended: %w", err))
		}
		data, _, ok := k.sealer.open(id, record.Value)
		if !ok {
			continue
		}
		if at, err := strconv.ParseInt(string(data), 10, 64); err != nil || st.Begun <= at {
			return fmt.Errorf("%w: the issuer has ended it during the sign-in", errEnded)
		}
	}
	return nil
}

func seenID(name string) string { return "seen." + digest("seen", name) }

// first is decided by the store, for all replicas.
func (k storeKeeper) first(ctx context.Context, name string, until time.Time) (bool, error) {
	err := k.write(ctx, Record{ID: seenID(name), Version: rand.Text(), Expires: until})
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

func (k storeKeeper) unsee(ctx context.Context, name string) {
	if err := k.cfg.Store.Delete(ctx, seenID(name)); err != nil {
		k.log.Warn("could not forget what was not done", "err", err)
	}
}
