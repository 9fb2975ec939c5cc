package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// A Route says what a request needs to reach one handler. The zero value asks for
// any good token.
type Route struct {
	// Scopes are needed all of them. Without one: 403 insufficient_scope.
	Scopes []string
	// AnyScope is a choice: one of them is needed. Put the least one first: the
	// challenge names it beside Scopes. Empty asks for none.
	AnyScope []string
	// Audiences are names of this resource (RFC 8707), one of which the token has to
	// carry, on top of what the verifier asks for. Without: 401 invalid_token. Empty
	// leaves it to the verifier.
	Audiences []string
	// ACR are the classes of sign-in that will do (RFC 9470), one of which the token
	// has to name. Without: 401 insufficient_user_authentication. Empty asks for none.
	ACR []string
	// MaxAge is how long ago the sign-in may be, in whole seconds. A token that does
	// not say when it was (auth_time) counts as too old: 401
	// insufficient_user_authentication. Zero asks for none.
	MaxAge time.Duration
	// Introspect asks the issuer whether the token is still good (RFC 7662), after all
	// else, and makes do with an answer that is no older than this; [EachRequest] asks
	// every time. It needs an Introspector. While the issuer does not answer the route
	// is 503. Zero believes the token until it expires.
	Introspect time.Duration
	// Check judges what the token claims in other ways, such as roles. An
	// [*oauth.Error] is answered as it is, [oauth.ErrInvalidToken] and
	// [oauth.ErrUnavailable] like those of the verifier, and any other error with 403
	// access_denied; the client does not learn its text. It is called by many
	// goroutines.
	Check func(context.Context, *oauth.AccessToken) error
	// Optional lets a request without a token through to the handler, which then
	// finds no claims. A token that is there has to be good for the route.
	Optional bool
}

// EachRequest as [Route.Introspect] makes do with no answer that was given before.
const EachRequest time.Duration = -1

// A policy is a route with all that can be prepared before a request comes.
type policy struct {
	guard     *Guard
	route     Route
	forbidden answerByScheme
	weak      answerByScheme
}

// compile checks a route and prepares its answers.
func (g *Guard) compile(route Route) (*policy, error) {
	route.Scopes = slices.Clone(route.Scopes)
	route.AnyScope = slices.Clone(route.AnyScope)
	route.Audiences = slices.Clone(route.Audiences)
	route.ACR = slices.Clone(route.ACR)
	for _, name := range slices.Concat(route.Scopes, route.AnyScope) {
		if !oauth.ValidScopeName(name) {
			return nil, fmt.Errorf("%q is not one scope name: it is empty or has a space, a quote, a backslash or a character outside ASCII", name)
		}
	}
	if slices.Contains(route.Audiences, "") {
		return nil, errors.New("an audience is empty")
	}
	for _, class := range route.ACR {
		if !oauth.ValidScopeName(class) { // acr_values is a list of the same form
			return nil, fmt.Errorf("%q is not one acr: it is empty or has a space, a quote, a backslash or a character outside ASCII", class)
		}
	}
	if route.MaxAge < 0 || route.MaxAge%time.Second != 0 {
		return nil, fmt.Errorf("MaxAge %v is not whole seconds, zero or more", route.MaxAge)
	}
	if route.Introspect != 0 && g.introspector == nil {
		return nil, errors.New("a route with Introspect needs an Introspector in the guard's configuration")
	}
	named := route.Scopes
	if len(route.AnyScope) > 0 && !slices.Contains(named, route.AnyScope[0]) {
		named = append(slices.Clip(named), route.AnyScope[0])
	}
	forbidden := g.byScheme(oauth.NewError(oauth.CodeInsufficientScope, "The access token does not have the scopes that this needs."),
		"scope", strings.Join(named, " "))
	return &policy{guard: g, route: route, forbidden: forbidden, weak: g.stepUp(route)}, nil
}

// admit decides about a request. It returns the request for the handler and headers
// for its answer, or the refusal. A panic on the way, of a verifier or of a function
// of the program's, is a refusal: the handler has not run.
func (p *policy) admit(r *http.Request) (admitted *http.Request, header http.Header, refused *Refusal) {
	g := p.guard
	defer func() {
		if defect := recover(); defect != nil {
			admitted, header, refused = nil, nil, g.answers.broken.because(panicked(defect))
		}
	}()
	sent, refused := g.credentials(r)
	if refused != nil {
		if refused.Error == nil && p.route.Optional {
			return g.pass(r, nil), nil, nil
		}
		return nil, nil, refused
	}
	token, err := g.ask(r.Context(), sent.token)
	if err != nil {
		return nil, nil, g.refusalFor(err, sent.scheme)
	}
	header, refused = g.proven(r, sent, token)
	if refused != nil {
		return nil, nil, refused
	}
	if refused := p.judge(r.Context(), token, sent.scheme); refused != nil {
		return nil, nil, refused
	}
	if p.route.Introspect != 0 {
		if refused := p.stillGood(r.Context(), sent, token); refused != nil {
			return nil, nil, refused
		}
	}
	return g.pass(r, token), header, nil
}

// judge compares a good token with what the route asks for.
func (p *policy) judge(ctx context.Context, token *oauth.AccessToken, used scheme) *Refusal {
	g := p.guard
	if len(p.route.Audiences) > 0 && !slices.ContainsFunc(p.route.Audiences, token.HasAudience) {
		return g.answers.invalidToken[used].because(errors.New("aud is another resource than the route's"))
	}
	if missing := p.missingScope(token.Scopes()); missing != "" {
		return p.forbidden[used].because(errors.New("the token lacks the scope " + missing))
	}
	if err := p.weakSignIn(token); err != nil {
		return p.weak[used].because(err)
	}
	if p.route.Check != nil {
		if err := p.route.Check(ctx, token); err != nil {
			return g.checkRefusal(err, used)
		}
	}
	return nil
}

// missingScope returns what of the route's scopes is not in granted, or "".
func (p *policy) missingScope(granted oauth.Scopes) string {
	for _, wanted := range p.route.Scopes {
		if !p.guard.allows(granted, wanted) {
			return wanted
		}
	}
	if len(p.route.AnyScope) == 0 {
		return ""
	}
	for _, wanted := range p.route.AnyScope {
		if p.guard.allows(granted, wanted) {
			return ""
		}
	}
	return strings.Join(p.route.AnyScope, " or ")
}

func (g *Guard) allows(granted oauth.Scopes, wanted string) bool {
	if granted.Has(wanted) {
		return true
	}
	if g.cfg.Implies == nil {
		return false
	}
	for name := range granted.All() {
		if g.cfg.Implies(name, wanted) {
			return true
		}
	}
	return false
}

// panicked makes an error of what recover returned, with the place of the panic.
func panicked(defect any) error { return fmt.Errorf("panic: %T\n%s", defect, debug.Stack()) }
