package session

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

const (
	// maxLogoutBody bounds what the issuer may send.
	maxLogoutBody = 64 << 10
	// revokeTime is how long a person who signs out waits for the issuer.
	revokeTime = 3 * time.Second
)

// logout is POST at the logout path: it ends the session here, takes the refresh
// token back, and sends the browser to the issuer to end the session there.
func (s *Sessions) logout(w http.ResponseWriter, r *http.Request) {
	h, _, ok, err := s.keep.load(r)
	if err == nil && ok {
		err = s.keep.end(r.Context(), h) // the session is over here
	}
	if err != nil {
		s.fail(w, r, problem(ProblemUnavailable), err)
		return
	}
	s.cookies.clearSession(w, r)
	if !ok {
		seeOther(w, s.cfg.Home)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), revokeTime)
	defer cancel()
	m, err := s.issuer.metadata(ctx)
	if err != nil {
		s.log.Warn("signed out here only", "err", err)
		seeOther(w, s.cfg.Home)
		return
	}
	if h.Refresh != "" && m.RevocationEndpoint != "" {
		if err := s.issuer.revoke(ctx, m, h.Refresh); err != nil {
			s.log.Warn("could not revoke the refresh token of a session that is over", "err", err)
		}
	}
	target := s.issuer.logoutURL(m, h.IDToken)
	if target == "" {
		target = s.cfg.Home
	}
	seeOther(w, target)
}

// backchannel is POST at the back-channel logout path: the issuer says that a
// session, or all of a person's, have ended (OpenID Connect Back-Channel Logout
// section 2.5).
func (s *Sessions) backchannel(w http.ResponseWriter, r *http.Request) {
	token, err := logoutToken(w, r)
	if err != nil {
		s.fail(w, r, problem(ProblemLogoutToken), err)
		return
	}
	t, err := s.issuer.tokens.VerifyLogout(r.Context(), token)
	switch {
	case errors.Is(err, oauth.ErrInvalidToken):
		s.fail(w, r, problem(ProblemLogoutToken), err)
		return
	case err != nil:
		s.fail(w, r, problem(ProblemUnavailable), err)
		return
	}
	name := "logout." + t.ID()
	unused, err := s.keep.first(r.Context(), name, s.now().Add(seenLife)) // the token is spent here
	switch {
	case err != nil:
		s.fail(w, r, problem(ProblemUnavailable), err)
		return
	case !unused:
		s.fail(w, r, problem(ProblemLogoutToken), errors.New("the logout token was used before"))
		return
	}
	for _, group := range endedBy(t) {
		s.markEnded(group)
		if err := s.keep.endGroup(r.Context(), group); err != nil {
			s.keep.unsee(r.Context(), name) // the issuer may send it again
			s.fail(w, r, problem(ProblemUnavailable), err)
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}

// endedBy lists the groups that a logout token ends. With sid it is that session;
// one that the issuer never named cannot be told from it.
func endedBy(t *oauth.LogoutToken) []string {
	switch {
	case t.SessionID() == "":
		return []string{bySubject(t.Subject())}
	case t.Subject() == "":
		return []string{bySession(t.SessionID())}
	}
	return []string{bySession(t.SessionID()), byNoSession(t.Subject())}
}

// logoutToken takes the token out of a request's form; other content has none.
func logoutToken(w http.ResponseWriter, r *http.Request) (string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogoutBody)
	if err := r.ParseForm(); err != nil {
		return "", errors.New("the form cannot be read")
	}
	tokens := r.PostForm["logout_token"]
	if len(tokens) != 1 || tokens[0] == "" {
		return "", errors.New("the form does not have one logout_token")
	}
	return tokens[0], nil
}
