package session

import (
	"context"
	"net/http"
	"time"
)

// A held is a session in hand, with what its keeper needs to change it.
type held struct {
	state
	// id names the record in a Store; version is the one that was read.
	id, version string
}

// refresh is what a keeper calls to get new tokens for a state. Its error is
// errEnded or errOutage.
type refresh func(context.Context, state) (state, error)

// A keeper keeps sessions between requests. The two differ in what the browser
// holds and in how a refresh token is used once only.
type keeper interface {
	// load returns the browser's session. Without one, or with one that cannot be
	// read, ok is false. The error is errOutage.
	load(r *http.Request) (h held, old, ok bool, err error)
	// begin makes a new session of st, and that of before, if there was one, is over. The
	// error is errEnded when endGroup has ended the new one already.
	begin(w http.ResponseWriter, r *http.Request, st state) error
	// show tells the browser what it has to send from now on.
	show(w http.ResponseWriter, r *http.Request, h held) error
	// flight names the refresh that h needs: requests whose sessions have the same
	// name take one together.
	flight(h held) string
	// renew replaces the tokens of h. It belongs to no request. The error is errEnded
	// or errOutage.
	renew(ctx context.Context, h held, fetch refresh) (held, error)
	// end forgets the session. The error is errOutage.
	end(ctx context.Context, h held) error
	// endGroup forgets all sessions of a group.
	endGroup(ctx context.Context, group string) error
	// first says whether name was never given before, and remembers it until then.
	first(ctx context.Context, name string, until time.Time) (bool, error)
	// unsee forgets such a name, if it can, because endGroup failed.
	unsee(ctx context.Context, name string)
}

// groups are the names under which a session is found when the issuer ends it: all
// of a person's, and one, or those that cannot be told apart because the issuer
// named none.
func (st state) groups() []string {
	if st.SID == "" {
		return []string{bySubject(st.Sub), byNoSession(st.Sub)}
	}
	return []string{bySubject(st.Sub), bySession(st.SID)}
}

func bySubject(sub string) string   { return "sub." + digest("sub", sub) }
func bySession(sid string) string   { return "sid." + digest("sid", sid) }
func byNoSession(sub string) string { return "nosid." + digest("sub", sub) }

// A cookieKeeper has the whole session in the browser. It stores nothing, so what
// has to be remembered is remembered by the process.
type cookieKeeper struct{ *Sessions }

func (k cookieKeeper) load(r *http.Request) (h held, old, ok bool, err error) {
	st, old, ok := k.openSession(r)
	return held{state: st}, old, ok, nil
}

// openSession reads a state out of the browser's cookies.
func (k cookieKeeper) openSession(r *http.Request) (st state, old, ok bool) {
	sealed, ok := untext(k.cookies.sessionValue(r))
	if !ok {
		return state{}, false, false
	}
	data, old, ok := k.sealer.open(k.cookies.session, sealed)
	if !ok {
		return state{}, false, false
	}
	st, ok = decodeState(data)
	return st, old, ok
}

func (k cookieKeeper) begin(w http.ResponseWriter, r *http.Request, st state) error {
	if err := k.show(w, r, held{state: st}); err != nil {
		return err
	}
	if before, _, ok := k.openSession(r); ok {
		k.markEnded(before.Key)
		k.markEnded(replaced(before.Key))
	}
	return nil
}

// replaced is the name under which a session is marked whose cookie the browser does not
// have any more, because that of another one took its place.
func replaced(key string) string { return "replaced." + key }

func (k cookieKeeper) show(w http.ResponseWriter, r *http.Request, h held) error {
	return k.cookies.setSession(w, r, text(k.sealer.seal(k.cookies.session, h.encode())), h.left(k.now()))
}

// flight is by the refresh token: another cookie of the same session, with another
// one, is another refresh. Two sessions of a person may have the same one.
func (k cookieKeeper) flight(h held) string { return digest("refresh", h.Key+"\x00"+h.Refresh) }

func (k cookieKeeper) renew(ctx context.Context, h held, fetch refresh) (held, error) {
	st, err := fetch(ctx, h.state)
	return held{state: st}, err
}

func (k cookieKeeper) end(_ context.Context, h held) error {
	k.markEnded(h.Key)
	return nil
}

// endGroup has nothing to do beyond what Sessions does for every keeper.
func (k cookieKeeper) endGroup(context.Context, string) error { return nil }

func (k cookieKeeper) first(_ context.Context, name string, _ time.Time) (bool, error) {
	return k.seen.first(k.now(), name, struct{}{}), nil
}

func (k cookieKeeper) unsee(context.Context, string) {} // endGroup does not fail
