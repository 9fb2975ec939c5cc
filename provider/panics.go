package provider

import (
	"fmt"
	"net/http"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
)

// A reply remembers whether anything of an answer is on its way. It can do nothing but
// answer, so that nothing gets past it unnoticed.
type reply struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (a *reply) WriteHeader(status int) {
	a.begun = a.begun || status >= http.StatusOK // before it, only information is sent
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *reply) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// safely is the handler with bodies bounded and panics answered as the row says.
func (g *routeGuard) safely(row route, handle http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &reply{ResponseWriter: w}
		r.Body = http.MaxBytesReader(w, r.Body, row.body) // not answer: the server has to know that it stops reading
		defer g.recovered(answer, r, row)
		handle(answer, r)
	})
}

// recovered, deferred, answers a panic with a 500 that tells the peer nothing. What is
// on its way already cannot be taken back: the connection is cut, so that it is not
// taken for a whole answer.
func (g *routeGuard) recovered(w *reply, r *http.Request, row route) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler {
		panic(fault)
	}
	cause := oauthcore.Panicked(fault)
	if w.begun {
		g.inbound.LogError(r, fmt.Errorf("the answer was cut off: %w", cause))
		panic(http.ErrAbortHandler)
	}
	// What the handler was about to say of its own answer.
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Language", "ETag", "Location", "WWW-Authenticate"} {
		w.Header().Del(name)
	}
	g.refuse(w, r, row, oauth.NewError(oauth.CodeServerError, "The request could not be completed.").WithCause(cause))
}
