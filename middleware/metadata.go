package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/lettergate/lettergate/oauth"
)

// A document is the service's metadata, rendered. The zero value is none.
type document struct {
	url, path string
	body      []byte
}

// newDocument renders what the configuration says about the service and what the
// guard knows itself.
func (g *Guard) newDocument() (document, error) {
	m := g.cfg.Metadata
	if m.Resource == "" {
		if len(m.AuthorizationServers) > 0 || m.Name != "" || m.Documentation != "" || len(m.ScopesSupported) > 0 {
			return document{}, errors.New("middleware: Metadata needs a Resource, the URL that names the service")
		}
		return document{}, nil
	}
	address, err := oauth.ResourceMetadataURL(m.Resource)
	if err != nil {
		return document{}, fmt.Errorf("middleware: Metadata: %w", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		return document{}, fmt.Errorf("middleware: Metadata: %w", err)
	}
	for _, name := range m.ScopesSupported {
		if !oauth.ValidScopeName(name) {
			return document{}, fmt.Errorf("middleware: Metadata: %q in ScopesSupported is not one scope name", name)
		}
	}
	m.BearerMethodsSupported = []string{"header"}
	m.CertificateBoundTokens = g.cfg.ClientCertificate != nil
	if g.proofs != nil {
		m.DPoPAlgorithms = g.proofs.Algorithms()
		m.DPoPRequired = !g.acceptsBearer()
	}
	body, err := json.Marshal(m)
	if err != nil {
		return document{}, fmt.Errorf("middleware: Metadata: %w", err)
	}
	return document{url: address, path: u.EscapedPath(), body: append(body, '\n')}, nil
}

// Metadata returns what serves the service's metadata (RFC 9728 section 3): the path,
// which lies at the root of the origin with the path of the resource behind it, and
// the handler. It is one line where routes are made:
//
//	mux.Handle(guard.Metadata())
//
// The document is public: it can be read without a token and from pages of any
// origin. Without [Config.Metadata] there is none, and Metadata panics.
func (g *Guard) Metadata() (path string, handler http.Handler) {
	if g.metadata.url == "" {
		panic("middleware.Metadata: the guard's configuration has no Metadata.Resource")
	}
	return g.metadata.path, http.HandlerFunc(g.serveMetadata)
}

func (g *Guard) serveMetadata(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "public, max-age=300")
		header.Set("Content-Length", strconv.Itoa(len(g.metadata.body)))
		w.Write(g.metadata.body) // net/http keeps the body of HEAD to itself
	case http.MethodOptions: // a client in a page may send headers of its own
		header.Set("Access-Control-Allow-Methods", "GET")
		header.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
	default:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}
