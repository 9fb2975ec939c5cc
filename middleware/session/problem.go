package session

import (
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
)

// The codes of a [Problem].
const (
	// ProblemSignedOut: nobody is signed in, and the request cannot wait for it.
	ProblemSignedOut = "signed_out"
	// ProblemExpired: the sign-in was begun in another browser, is older than ten
	// minutes, or was completed before.
	ProblemExpired = "sign_in_expired"
	// ProblemDenied: the person or the issuer's rules said no.
	ProblemDenied = "access_denied"
	// ProblemRefused: the issuer refuses the request; the settings do not match.
	ProblemRefused = "sign_in_refused"
	// ProblemBroken: the issuer's answer cannot be accepted.
	ProblemBroken = "sign_in_failed"
	// ProblemUnavailable: the issuer or the store cannot be reached at the moment.
	ProblemUnavailable = "temporarily_unavailable"
	// ProblemCrossOrigin: a page of another origin sent the request.
	ProblemCrossOrigin = "cross_origin"
	// ProblemMethod: the method is not for this path.
	ProblemMethod = "wrong_method"
	// ProblemLogoutToken: a logout token that is no good.
	ProblemLogoutToken = "invalid_request"
)

// A Problem is what a person is told when something went wrong.
type Problem struct {
	// Status is that of the answer.
	Status int
	// Code is one of the constants of this package, for translations.
	Code string
	// Message is a sentence in English.
	Message string
	// LoginURL is where to try again, "" when that is of no use.
	LoginURL string
}

// problem returns the Problem of a code. It is the one place that says them.
func problem(code string) Problem {
	switch code {
	case ProblemSignedOut:
		return Problem{Status: http.StatusUnauthorized, Code: code, Message: "You are not signed in. Sign in and try again; what you sent was not received."}
	case ProblemExpired:
		return Problem{Status: http.StatusBadRequest, Code: code, Message: "This sign-in was begun in another browser, took longer than ten minutes, or was completed before. Sign in again."}
	case ProblemDenied:
		return Problem{Status: http.StatusForbidden, Code: code, Message: "The sign-in was cancelled or not allowed."}
	case ProblemRefused:
		return Problem{Status: http.StatusBadGateway, Code: code, Message: "The sign-in service does not accept this app's request. If it happens again, tell whoever runs this app."}
	case ProblemUnavailable:
		return Problem{Status: http.StatusServiceUnavailable, Code: code, Message: "Signing in is not possible at the moment. Try again in a few seconds."}
	case ProblemCrossOrigin:
		return Problem{Status: http.StatusForbidden, Code: code, Message: "This request came from a page of another site and was refused."}
	case ProblemMethod:
		return Problem{Status: http.StatusMethodNotAllowed, Code: code, Message: "This method is not allowed here."}
	case ProblemLogoutToken:
		return Problem{Status: http.StatusBadRequest, Code: code, Message: "The logout token is missing, or it is not one that this app accepts."}
	}
	return Problem{Status: http.StatusBadGateway, Code: ProblemBroken, Message: "The answer of the sign-in service could not be accepted. Sign in again; if it happens again, tell whoever runs this app."}
}

// failTo is fail for a flow: trying again leads where the person wanted to go.
func (s *Sessions) failTo(w http.ResponseWriter, r *http.Request, f flow, p Problem, cause error) {
	p.LoginURL = s.LoginURL(f.ReturnTo)
	s.fail(w, r, p, cause)
}

// fail answers a request with a problem, and logs its cause.
func (s *Sessions) fail(w http.ResponseWriter, r *http.Request, p Problem, cause error) {
	switch {
	case cause == nil:
	case p.Status >= http.StatusInternalServerError:
		s.log.Warn(p.Message, "path", r.URL.Path, "err", cause)
	default:
		s.log.Info(p.Message, "path", r.URL.Path, "err", cause)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Cookie") // something has to stand there (RFC 9110 section 15.5.2)
	}
	if !forPerson(r) {
		h.Set("Content-Type", "application/json")
		w.WriteHeader(p.Status)
		json.NewEncoder(w).Encode(map[string]string{"error": p.Code, "error_description": p.Message}) // nobody is left to tell
		return
	}
	if p.LoginURL == "" && p.Code != ProblemCrossOrigin && p.Code != ProblemMethod {
		p.LoginURL = s.LoginURL(s.cfg.Home)
	}
	if s.cfg.ErrorPage != nil {
		s.cfg.ErrorPage(w, r, p)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Frame-Options", "DENY")
	w.WriteHeader(p.Status)
	s.page.Execute(w, p) // nobody is left to tell
}

// forPerson says whether a person will look at the answer: a browser says so
// itself, and one that does not say it asks for a page.
func forPerson(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return r.Header.Get("X-Requested-With") == "" && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func newPage() (*template.Template, error) {
	return template.New("problem").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sign-in</title></head>
<body>
<p id="message">{{.Message}}</p>
{{with .LoginURL}}<p><a id="login" href="{{.}}">Sign in</a></p>
{{end}}</body>
</html>
`)
}
