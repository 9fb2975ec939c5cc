// Package endpoint is the protocol's doors for machines: token, verification,
// userinfo, introspection, revocation, metadata and keys. Each handler parses,
// asks a service once, and writes JSON. What a person sees is package interact.
package endpoint

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/internal/web"
)

// A KeySet is the provider's published keys.
type KeySet interface {
	// JWKS returns the rendered set and its entity tag.
	JWKS() (body []byte, etag string)
}

// Deps are what the endpoints work with. All are required.
type Deps struct {
	Config        config.Config
	Core          *oauthcore.Core
	Verifications *verification.Service
	Outbox        interface{ Dispatch(outbox.Ticket) }
	Users         oauthcore.Subjects
	Keys          KeySet
	Messages      *messages.Catalogue
	Inbound       *web.Inbound
	Now           func() time.Time
}

// Endpoints are the handlers. They are safe for concurrent use.
type Endpoints struct {
	Deps
	metadata     []byte
	metadataETag string
}

// New returns the endpoints with their metadata rendered.
func New(deps Deps) (*Endpoints, error) {
	e := &Endpoints{Deps: deps}
	if deps.Core == nil || deps.Verifications == nil || deps.Users == nil || deps.Keys == nil || deps.Inbound == nil || deps.Outbox == nil || deps.Messages == nil || deps.Now == nil {
		return nil, errors.New("endpoint: all of Deps are required")
	}
	var err error
	e.metadata, e.metadataETag, err = renderMetadata(deps.Config)
	return e, err
}

// Token is the token endpoint (RFC 6749 section 3.2).
func (e *Endpoints) Token(w http.ResponseWriter, r *http.Request) {
	client, form, bad := e.authenticated(w, r)
	if bad != nil {
		e.Inbound.WriteError(w, r, bad)
		return
	}
	ctx := withSource(r.Context(), e.Inbound.Source(r))
	answer, bad := e.Core.Token(ctx, client, form)
	if bad != nil {
		e.Inbound.WriteError(w, r, bad)
		return
	}
	e.Inbound.WriteJSON(w, r, http.StatusOK, answer)
}

// authenticated reads a form and the client that sent it.
func (e *Endpoints) authenticated(w http.ResponseWriter, r *http.Request) (*oauthcore.Client, url.Values, *oauth.Error) {
	form, bad := oauthcore.ReadForm(w, r)
	if bad != nil {
		return nil, nil, bad
	}
	client, bad := e.Core.AuthenticateClient(r, form)
	if bad != nil {
		return nil, nil, bad
	}
	return client, form, nil
}
