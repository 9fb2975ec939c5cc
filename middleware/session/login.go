package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/lettergate/lettergate/oauth"
)

// maxQuery bounds the query of the callback.
const maxQuery = 8 << 10

// login is GET at the login path: the sign-in begins.
func (s *Sessions) login(w http.ResponseWriter, r *http.Request) {
	s.startLogin(w, r, s.returnTo(r.URL.Query().Get("return_to")))
}

// startLogin sends the browser to the issuer.
func (s *Sessions) startLogin(w http.ResponseWriter, r *http.Request, returnTo string) {
	m, err := s.issuer.metadata(r.Context())
	if err != nil {
		s.fail(w, r, problem(ProblemUnavailable), err)
		return
	}
	f := s.beginFlow(w, r, returnTo)
	seeOther(w, s.issuer.authorizeURL(m, f))
}

// returnTo returns where a person goes after signing in: raw if it is on this app
// and not one of our own paths, otherwise home.
func (s *Sessions) returnTo(raw string) string {
	if !localURL(raw) {
		return s.cfg.Home
	}
	u, err := url.Parse(raw)
	if err != nil || slices.Contains([]string{s.paths.login, s.paths.callback, s.paths.logout, s.paths.backchannel}, path.Clean(u.Path)) {
		return s.cfg.Home
	}
	return raw
}

// callback is GET at the path of RedirectURL: the issuer's answer.
func (s *Sessions) callback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // a mux takes HEAD for GET; it would spend the code
		w.Header().Set("Allow", "GET")
		s.fail(w, r, problem(ProblemMethod), nil)
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(r.URL.RawQuery) > maxQuery || repeated(q, "state", "code", "iss", "error") {
		s.fail(w, r, problem(ProblemExpired), errors.New("the query is malformed"))
		return
	}
	f, ok := s.takeFlow(w, r, q.Get("state"))
	if !ok {
		s.fail(w, r, problem(ProblemExpired), errors.New("this browser has not begun a sign-in with this state"))
		return
	}
	unused, err := s.keep.first(r.Context(), "flow."+f.State, s.now().Add(flowLife)) // the flow is spent here
	switch {
	case err != nil:
		s.failTo(w, r, f, problem(ProblemUnavailable), err)
		return
	case !unused:
		s.failTo(w, r, f, problem(ProblemExpired), errors.New("the sign-in was completed before"))
		return
	}
	m, err := s.issuer.metadata(r.Context())
	if err != nil {
		s.failTo(w, r, f, problem(ProblemUnavailable), err)
		return
	}
	if p, err := checkAnswer(s.cfg.Issuer, m, q); err != nil {
		s.failTo(w, r, f, p, err)
		return
	}
	st, p, err := s.complete(r.Context(), m, f, q.Get("code"))
	if err != nil {
		s.failTo(w, r, f, p, err)
		return
	}
	if err := s.begin(w, r, st); err != nil {
		p := problem(ProblemUnavailable)
		switch {
		case errors.Is(err, errTooLarge):
			p = problem(ProblemBroken)
		case errors.Is(err, errEnded):
			p = problem(ProblemSignedOut)
		}
		s.failTo(w, r, f, p, err)
		return
	}
	seeOther(w, f.ReturnTo)
}

// begin makes a session of st, unless the issuer has ended it meanwhile.
func (s *Sessions) begin(w http.ResponseWriter, r *http.Request, st state) error {
	if s.over(st) {
		return fmt.Errorf("%w: the issuer has ended it during the sign-in", errEnded)
	}
	return s.keep.begin(w, r, st)
}

func repeated(q url.Values, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(q[name]) > 1 })
}

// checkAnswer says what is wrong with an authorization response whose state is
// right: that it is another issuer's (RFC 9207), or that it is an error.
func checkAnswer(issuer string, m oauth.Metadata, q url.Values) (Problem, error) {
	if q.Has("iss") && q.Get("iss") != issuer || m.ResponseIssuer && !q.Has("iss") {
		return problem(ProblemBroken), errors.New("the answer is another issuer's")
	}
	if code := q.Get("error"); code != "" {
		err := fmt.Errorf("the issuer answers %.40q %.200q", code, q.Get("error_description"))
		switch code {
		case oauth.CodeAccessDenied:
			return problem(ProblemDenied), err
		case oauth.CodeTemporarilyUnavailable, oauth.CodeServerError:
			return problem(ProblemUnavailable), err
		case oauth.CodeLoginRequired, oauth.CodeInteractionRequired, oauth.CodeConsentRequired, oauth.CodeAccountSelectionRequired:
			return problem(ProblemSignedOut), err
		}
		return problem(ProblemRefused), err
	}
	if q.Get("code") == "" {
		return problem(ProblemBroken), errors.New("the answer has neither code nor error")
	}
	return Problem{}, nil
}

// complete turns a code into a session.
func (s *Sessions) complete(ctx context.Context, m oauth.Metadata, f flow, code string) (state, Problem, error) {
	// What the issuer ends from here on is this session too: the answer may be slower than
	// the logout token.
	begun := s.now()
	got, err := s.issuer.exchange(ctx, m, code, f.Verifier)
	switch {
	case errors.Is(err, errEnded):
		return state{}, problem(ProblemExpired), err
	case err != nil:
		return state{}, problem(ProblemUnavailable), err
	}
	id, err := s.issuer.tokens.Verify(ctx, got.id, f.Nonce, got.access)
	switch {
	case errors.Is(err, oauth.ErrInvalidToken):
		return state{}, problem(ProblemBroken), fmt.Errorf("the ID token: %w", err)
	case err != nil:
		return state{}, problem(ProblemUnavailable), fmt.Errorf("the ID token: %w", err)
	}
	now := s.now()
	st := state{
		V: stateVersion, Key: draw(), Sub: id.Subject(), SID: id.SessionID(),
		Begun: begun.UnixMilli(), Ends: now.Add(s.cfg.Lifetime).UnixMilli(),
	}.with(got, now)
	if m.UserInfoEndpoint != "" && slices.ContainsFunc(s.cfg.Scopes, aboutUser) {
		if st.UserInfo, err = s.issuer.userInfo(ctx, m, got.access, id.Subject()); errors.Is(err, errOutage) {
			return state{}, problem(ProblemUnavailable), err
		} else if err != nil {
			return state{}, problem(ProblemBroken), err
		}
	}
	return st, Problem{}, nil
}

// aboutUser says whether a scope asks for claims that the userinfo endpoint gives
// (OpenID Connect Core section 5.4).
func aboutUser(scope string) bool {
	return slices.Contains([]string{"profile", "email", "address", "phone"}, scope)
}

// seeOther redirects with a GET. Unlike http.Redirect it leaves the target as it
// is.
func seeOther(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

// LoginURL returns the path that signs a person in and leads back to returnTo, a
// path on this app.
func (s *Sessions) LoginURL(returnTo string) string {
	if to := s.returnTo(returnTo); to != s.cfg.Home {
		return s.paths.login + "?" + url.Values{"return_to": {to}}.Encode()
	}
	return s.paths.login
}

// LogoutURL returns the path to which a page sends a POST to sign out.
func (s *Sessions) LogoutURL() string { return s.paths.logout }

// requestedPath is the path of requested.
func requestedPath(r *http.Request) string {
	path, _, _ := strings.Cut(requested(r), "?")
	return path
}

// requested is the URL of a request as the browser asked for it, whatever was
// stripped of it on the way.
func requested(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}
