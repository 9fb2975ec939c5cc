package oauthcore

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
)

// credentials are what a request says about its client.
type credentials struct {
	method string // an authentication method, as registered
	id     string
	secret string
}

// AuthenticateClient returns the client that the request authenticates as, with
// exactly the method it is registered with (RFC 6749 section 2.3). Unknown
// clients and wrong secrets are told apart neither by answer nor by work done.
func (c *Core) AuthenticateClient(r *http.Request, form url.Values) (*Client, *oauth.Error) {
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		return c.authenticateByAssertion(r, form)
	}
	cred, bad := readCredentials(r, form)
	if bad != nil {
		return nil, bad
	}
	client, known := c.clients.Lookup(cred.id)
	hash := sha256.Sum256([]byte(cred.secret))
	if !known {
		client = &c.nobody
	}
	matched := 0
	for i := range client.secretHashes {
		matched |= subtle.ConstantTimeCompare(hash[:], client.secretHashes[i][:])
	}
	switch {
	case known && client.AuthMethod() == config.AuthMethodNone && cred.method == config.AuthMethodNone:
		return client, nil
	case known && client.AuthMethod() == cred.method && cred.method != config.AuthMethodNone && matched == 1:
		return client, nil
	}
	return nil, errClient()
}

func errClient() *oauth.Error {
	return oauth.NewError(oauth.CodeInvalidClient,
		"The client is unknown, its credentials are wrong, or it has to authenticate with the method that it is registered with.")
}

func readCredentials(r *http.Request, form url.Values) (credentials, *oauth.Error) {
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return credentials{}, oauth.NewError(oauth.CodeInvalidRequest, "There is more than one Authorization header.")
	}
	if len(headers) == 0 {
		cred := credentials{method: config.AuthMethodNone, id: form.Get("client_id")}
		if form.Has("client_secret") {
			cred.method, cred.secret = config.AuthMethodPost, form.Get("client_secret")
		}
		if cred.id == "" {
			return cred, oauth.NewError(oauth.CodeInvalidClient, "The request names no client; send client_id, or client credentials as a Basic Authorization header.")
		}
		return cred, nil
	}
	if form.Has("client_secret") {
		return credentials{}, oauth.NewError(oauth.CodeInvalidRequest, "Use one client authentication method, not both the Authorization header and client_secret.")
	}
	id, secret, ok := basicCredentials(headers[0])
	if !ok {
		return credentials{}, oauth.NewError(oauth.CodeInvalidClient, "The Authorization header is not a Basic one of a form-encoded client id and secret.")
	}
	if form.Has("client_id") && form.Get("client_id") != id {
		return credentials{}, oauth.NewError(oauth.CodeInvalidRequest, "The client_id differs from the one in the Authorization header.")
	}
	return credentials{method: config.AuthMethodBasic, id: id, secret: secret}, nil
}

// basicCredentials reads RFC 7617 credentials whose halves are form-encoded first
// (RFC 6749 section 2.3.1).
func basicCredentials(header string) (id, secret string, ok bool) {
	scheme, encoded, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}
	rawID, rawSecret, found := strings.Cut(string(raw), ":")
	if !found {
		return "", "", false
	}
	id, err = url.QueryUnescape(rawID)
	if err != nil {
		return "", "", false
	}
	secret, err = url.QueryUnescape(rawSecret)
	return id, secret, err == nil && id != ""
}

type clientKey struct{}

// fositeClient is fosite's client authentication strategy: the client was
// authenticated before fosite was asked.
func fositeClient(ctx context.Context, _ *http.Request, _ url.Values) (fosite.Client, error) {
	if client, ok := ctx.Value(clientKey{}).(*Client); ok {
		return client, nil
	}
	return nil, fosite.ErrInvalidClient
}
