package middleware

import (
	"slices"
	"strings"

	"github.com/lettergate/lettergate/oauth"
)

// challenges returns the values of WWW-Authenticate for a request that used a
// scheme, with names and values of parameters. Each says what the scheme takes and
// names the service's metadata (RFC 9728 section 5.1).
func (g *Guard) challenges(used scheme, params ...string) []string {
	if used == bearer && !g.acceptsBearer() {
		used = dpop // tell the client what it should have used
	}
	if used == dpop {
		return []string{challenge("DPoP", slices.Concat(params, []string{"algs", strings.Join(g.proofs.Algorithms(), " "), "resource_metadata", g.metadata.url})...)}
	}
	return []string{challenge("Bearer", slices.Concat(params, []string{"resource_metadata", g.metadata.url})...)}
}

// offers returns challenges for all schemes that the guard accepts, the first with
// parameters (RFC 9449 section 7.1).
func (g *Guard) offers(params ...string) []string {
	all := g.challenges(bearer, params...)
	if g.acceptsBearer() && g.proofs != nil {
		all = append(all, g.challenges(dpop)...)
	}
	return all
}

// acceptsBearer says whether any token may be sent with the scheme Bearer: those bound
// to a certificate are.
func (g *Guard) acceptsBearer() bool { return !g.cfg.BoundOnly || g.cfg.ClientCertificate != nil }

// challenge writes one challenge (RFC 9110 section 11.6.1) with parameters given as
// names and values. Those with an empty value are left out. Whatever a value holds,
// it stays inside its quotes: it is written in the characters of
// [oauth.SafeDescription], none of which needs to be escaped.
func challenge(scheme string, params ...string) string {
	var b strings.Builder
	b.WriteString(scheme)
	separator := " "
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] == "" {
			continue
		}
		b.WriteString(separator + params[i] + `="` + oauth.SafeDescription(params[i+1]) + `"`)
		separator = ", "
	}
	return b.String()
}
