package middleware

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/lettergate/lettergate/oauth"
)

// PeerCertificate returns the certificate with which the client opened the TLS
// connection, or nil. It is a [Config.ClientCertificate] for servers that ask for
// client certificates themselves. They need not verify who issued it: what counts is
// that the client has its key (RFC 8705 section 6.2).
func PeerCertificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// acceptBound prepares what tokens that are bound to a key need.
func (g *Guard) acceptBound() error {
	if g.cfg.DPoP == nil && g.cfg.ClientCertificate == nil {
		if g.cfg.BoundOnly {
			return errors.New("middleware: BoundOnly needs DPoP or ClientCertificate, or no token is good")
		}
		return nil
	}
	var ok bool
	if g.bound, ok = g.verifier.(oauth.BoundVerifier); !ok {
		return fmt.Errorf("middleware: the verifier %T cannot judge tokens that are bound to a key: with DPoP or ClientCertificate it has to be an oauth.BoundVerifier", g.verifier)
	}
	if g.cfg.DPoP == nil {
		return nil
	}
	cfg := *g.cfg.DPoP
	if cfg.Now == nil {
		cfg.Now = g.cfg.Now
	}
	var err error
	if g.proofs, err = oauth.NewDPoPVerifier(cfg); err != nil {
		return err
	}
	bases := g.cfg.BaseURLs
	if len(bases) == 0 && g.cfg.Metadata.Resource != "" {
		if u, err := url.Parse(g.cfg.Metadata.Resource); err == nil {
			bases = []string{u.Scheme + "://" + u.Host}
		}
	}
	if len(bases) == 0 {
		return errors.New("middleware: DPoP needs BaseURLs or Metadata.Resource: proofs name the URL that the client used")
	}
	for _, base := range bases {
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.ContainsAny(base, "?#") {
			return fmt.Errorf("middleware: base URL %q is not http or https, a host and perhaps a path", base)
		}
		g.bases = append(g.bases, strings.TrimSuffix(base, "/"))
	}
	return nil
}

// proven sees to it that a token that is bound to a key came with the proof of that
// key, with the scheme that belongs to it, and that no other token looks as if it had
// been. It returns headers for the answer, or a refusal.
func (g *Guard) proven(r *http.Request, sent credentials, token *oauth.AccessToken) (http.Header, *Refusal) {
	to := token.Confirmation()
	var reason string
	switch {
	case to == (oauth.Confirmation{}) && sent.scheme == bearer && !g.cfg.BoundOnly:
		return nil, nil
	case to == (oauth.Confirmation{}):
		reason = "the token is bound to nothing"
	case (to.JKT != "") != (sent.scheme == dpop):
		reason = "the token is bound to another kind of key than the scheme proves"
	case to.X5TS256 != "" && !g.hasCertificate(r, to.X5TS256):
		reason = "the token is bound to another client certificate than that of the connection"
	}
	if reason != "" {
		return nil, g.answers.invalidToken[sent.scheme].because(errors.New(reason))
	}
	if to.JKT == "" {
		return nil, nil
	}
	return g.checkProof(r, sent.token, to.JKT)
}

// hasCertificate says whether the client proved to hold the certificate with a
// thumbprint.
func (g *Guard) hasCertificate(r *http.Request, thumbprint string) bool {
	if g.cfg.ClientCertificate == nil {
		return false
	}
	certificate := g.cfg.ClientCertificate(r)
	if certificate == nil {
		return false
	}
	sum := sha256.Sum256(certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:]) == thumbprint
}

// checkProof looks at the DPoP header of a request whose token is bound to the key with
// thumbprint jkt.
func (g *Guard) checkProof(r *http.Request, token, jkt string) (http.Header, *Refusal) {
	values := r.Header["Dpop"]
	if len(values) != 1 {
		return nil, g.answers.invalidProof.because(fmt.Errorf("the request has %d DPoP headers", len(values)))
	}
	proof, err := g.proofs.Verify(r.Context(), oauth.DPoPRequest{
		Proof: values[0], Method: r.Method, URLs: g.addresses(r), Token: token, JKT: jkt,
	})
	switch {
	case errors.Is(err, oauth.ErrUseNonce):
		return nil, g.answers.useNonce.because(err)
	case errors.Is(err, oauth.ErrInvalidProof):
		return nil, g.answers.invalidProof.because(err)
	case err != nil:
		return nil, g.refusalFor(err, dpop)
	case proof.RenewNonce:
		return http.Header{"Dpop-Nonce": {g.proofs.Nonce()}}, nil
	}
	return nil, nil
}

// addresses are the URLs that the client may have used for this request.
func (g *Guard) addresses(r *http.Request) []string {
	path := sentPath(r)
	if !strings.HasPrefix(path, "/") {
		return nil
	}
	addresses := make([]string, len(g.bases))
	for i, base := range g.bases {
		addresses[i] = base + path
	}
	return addresses
}

// sentPath is the path that the client sent. [http.StripPrefix] and its like change the
// request's URL on the way here, and leave the request line alone.
func sentPath(r *http.Request) string {
	path := r.RequestURI
	if path == "" { // not from a server
		path = r.URL.EscapedPath()
	}
	path, _, _ = strings.Cut(path, "?")
	if _, rest, ok := strings.Cut(path, "://"); ok && !strings.HasPrefix(path, "/") { // absolute-form
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	return strings.ReplaceAll(path, "#", "%23") // a request line has no fragment
}
