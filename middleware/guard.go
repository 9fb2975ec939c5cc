package middleware

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// Config says what all routes of a [Guard] have in common. The zero value is
// complete and the strictest: it is what [Require] uses.
type Config struct {
	// Metadata says what the service is (RFC 9728). With Metadata.Resource set, each
	// challenge names the document that [Guard.Metadata] serves, from which a client
	// learns where to get a token. New fills in what it knows itself: how tokens are
	// sent and bound. Default there is no document.
	Metadata oauth.ResourceMetadata

	// DPoP accepts tokens that are bound to a key by DPoP (RFC 9449), and says which
	// proofs of that key are good; &oauth.DPoPConfig{} is ready for use. Default such
	// tokens are refused, with whatever scheme they are sent.
	DPoP *oauth.DPoPConfig
	// BaseURLs are those under which clients reach the service, for what a DPoP proof
	// says about the request's URL: the path that the client sent is put behind
	// them. A request's Host header means nothing here. Default the origin of
	// Metadata.Resource; one of the two is required with DPoP.
	BaseURLs []string
	// ClientCertificate accepts tokens that are bound to a TLS certificate (RFC 8705
	// section 3), and says which certificate the client has proven to hold on the
	// connection of the request: [PeerCertificate] where TLS ends in this process.
	// Default such tokens are refused.
	ClientCertificate func(*http.Request) *x509.Certificate
	// BoundOnly refuses tokens that are bound to nothing.
	BoundOnly bool

	// Introspector is asked about tokens on routes that want that. Default the verifier
	// itself, where it is one.
	Introspector Introspector

	// Implies says whether a token that has the scope granted may do what wanted
	// stands for, where the two are not the same name: "notes" for "notes:read".
	// Default no scope implies another. It is called by many goroutines.
	Implies func(granted, wanted string) bool

	// Preflight answers CORS preflights (OPTIONS with Origin and
	// Access-Control-Request-Method), which browsers send without a token. It is
	// the program's CORS layer around a handler that does nothing; a protected
	// handler never runs for a preflight. Default they are refused like any request
	// without a token, which is right when the CORS layer is around the guard.
	Preflight http.Handler

	// IdentityHeaders are the request headers that are taken away before the handler
	// runs, because a client can write a name into them: exact names, or the
	// beginning of names and "*". Nil means those of [IdentityHeaders]; an empty list
	// keeps all headers.
	IdentityHeaders []string

	// Refuse writes the answer to a request that does not reach its handler. Default
	// [Refusal.Write], the answer of RFC 6750.
	Refuse func(http.ResponseWriter, *http.Request, *Refusal)

	// OnRefusal hears of each refusal before it is answered, to count them for
	// example. The request still has its token: do not log its headers.
	OnRefusal func(*http.Request, *Refusal)

	// Logger hears why each request was refused, at Debug, and of defects such as a
	// verifier that panics, at Error. It never gets a token. Default slog.Default().
	Logger *slog.Logger

	// Now is the clock, for the age of a sign-in. Default time.Now.
	Now func() time.Time
}

// A Guard protects the routes of one service with one verifier. It cannot be
// changed after it was made and is safe for concurrent use.
type Guard struct {
	verifier oauth.Verifier
	bound    oauth.BoundVerifier // nil when no bound token is accepted
	cfg      Config

	introspector Introspector

	proofs   *oauth.DPoPVerifier // nil without DPoP
	bases    []string            // of DPoP, without a slash at the end
	strip    headerPatterns
	metadata document
	answers  commonAnswers
}

// New returns a guard that accepts the tokens that v accepts, or an error that says
// which setting is wrong. It starts nothing and asks nobody.
func New(v oauth.Verifier, cfg Config) (*Guard, error) {
	if v == nil {
		return nil, errors.New("middleware: a guard needs a verifier")
	}
	g := &Guard{verifier: v, cfg: cfg}
	if g.cfg.Logger == nil {
		g.cfg.Logger = slog.Default()
	}
	if g.cfg.Now == nil {
		g.cfg.Now = time.Now
	}
	if g.cfg.Refuse == nil {
		g.cfg.Refuse = writeRefusal
	}
	headers := cfg.IdentityHeaders
	if headers == nil {
		headers = IdentityHeaders()
	}
	if g.introspector = cfg.Introspector; g.introspector == nil {
		g.introspector, _ = v.(Introspector)
	}
	var err error
	if g.strip, err = newHeaderPatterns(headers); err != nil {
		return nil, err
	}
	if err := g.acceptBound(); err != nil {
		return nil, err
	}
	if g.metadata, err = g.newDocument(); err != nil {
		return nil, err
	}
	g.answers = g.newAnswers()
	return g, nil
}

// Require protects a handler like the function of this name, with the settings of
// the guard.
func (g *Guard) Require(scopes ...string) func(http.Handler) http.Handler {
	p, err := g.compile(Route{Scopes: scopes})
	if err != nil {
		panic("middleware.Require: " + err.Error())
	}
	return p.protect
}

// Protect protects a handler: it runs only for a request with a token that has all
// that route asks for. Without that the request is answered here, as [Require]
// lists it and each field of [Route] adds.
//
// A route that cannot be is a mistake in the program, and Protect panics, as
// [http.ServeMux.Handle] does for a bad pattern.
func (g *Guard) Protect(route Route) func(http.Handler) http.Handler {
	p, err := g.compile(route)
	if err != nil {
		panic("middleware.Protect: " + err.Error())
	}
	return p.protect
}

// Admit is Protect for frameworks whose handlers are no [http.Handler]. The function
// that it returns decides about a request: it returns the request that the handler
// is to see, or the refusal that the client is to get instead. It answers no
// preflights and writes nothing. Like Protect it panics for a route that cannot be.
func (g *Guard) Admit(route Route) func(*http.Request) (*http.Request, *Refusal) {
	p, err := g.compile(route)
	if err != nil {
		panic("middleware.Admit: " + err.Error())
	}
	return func(r *http.Request) (*http.Request, *Refusal) {
		admitted, _, refused := p.admit(r)
		if refused != nil {
			refused = g.report(r, refused)
		}
		return admitted, refused
	}
}

// protect is the middleware of one route.
func (p *policy) protect(next http.Handler) http.Handler {
	g := p.guard
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.cfg.Preflight != nil && isPreflight(r) {
			g.cfg.Preflight.ServeHTTP(w, r)
			return
		}
		admitted, header, refused := p.admit(r)
		if refused != nil {
			g.cfg.Refuse(w, r, g.report(r, refused))
			return
		}
		for name, value := range header {
			w.Header()[name] = value
		}
		next.ServeHTTP(w, admitted)
	})
}

// isPreflight says whether r is what a browser sends before a request to another
// origin (Fetch standard, section 4.8). It carries no credentials.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// report completes a refusal, tells the logger and the hook about it, and returns what
// the client gets: the same, unless the hook panics.
func (g *Guard) report(r *http.Request, refused *Refusal) (answered *Refusal) {
	answered = refused
	defer func() {
		if defect := recover(); defect != nil {
			answered = g.answers.broken.because(panicked(defect))
			g.log(r, answered)
		}
	}()
	if refused.Status == http.StatusUnauthorized && g.proofs != nil {
		refused.Nonce = g.proofs.Nonce()
	}
	g.log(r, refused)
	if g.cfg.OnRefusal != nil {
		g.cfg.OnRefusal(r, refused)
	}
	return refused
}

func (g *Guard) log(r *http.Request, refused *Refusal) {
	level := slog.LevelDebug
	if refused.Status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !g.cfg.Logger.Enabled(r.Context(), level) {
		return
	}
	code := ""
	if refused.Error != nil {
		code = refused.Error.Code
	}
	// The path alone: a query may hold a token that was sent the wrong way.
	g.cfg.Logger.Log(r.Context(), level, "request refused", "method", r.Method, "path", r.URL.Path,
		"status", refused.Status, "error", code, "cause", refused.Cause)
}

// ask calls the verifier. Its panics are caught by admit.
func (g *Guard) ask(ctx context.Context, token string) (*oauth.AccessToken, error) {
	verify := g.verifier.Verify
	if g.bound != nil {
		verify = g.bound.VerifyBound
	}
	claims, err := verify(ctx, token)
	if err == nil && claims == nil {
		err = fmt.Errorf("the verifier %T returned neither claims nor an error", g.verifier)
	}
	return claims, err
}
