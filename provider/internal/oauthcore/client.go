package oauthcore

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v3" // fosite's
	josev4 "github.com/go-jose/go-jose/v4"
	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
)

// A Client is a registered client, ready to be asked.
type Client struct {
	config.Client
	issuer       string
	secretHashes [][sha256.Size]byte
	keys         oauth.KeySource // of a client that signs assertions, else nil
}

var (
	_ fosite.Client              = (*Client)(nil)
	_ fosite.OpenIDConnectClient = (*Client)(nil)
	_ fosite.ResponseModeClient  = (*Client)(nil)
)

// Clients are the registered clients. They are immutable and safe for concurrent
// use.
type Clients struct {
	byID      map[string]*Client
	origins   map[string]bool
	cloudbase []*Client
}

// ClientsConfig is what registered clients are judged with. All of it is required.
type ClientsConfig struct {
	Issuer string
	// Outbound fetches the keys that clients publish, and nothing that they should not
	// make the provider ask for.
	Outbound *http.Client
	Now      func() time.Time
	Logger   *slog.Logger
}

// NewClients prepares the clients of a configuration that has been validated. It
// makes no request.
func NewClients(cfg ClientsConfig, list []config.Client) (*Clients, error) {
	all := &Clients{byID: make(map[string]*Client, len(list)), origins: map[string]bool{}}
	for _, c := range list {
		client := &Client{Client: c, issuer: cfg.Issuer}
		for _, s := range c.Secrets {
			client.secretHashes = append(client.secretHashes, sha256.Sum256([]byte(s.Reveal())))
		}
		var err error
		if client.keys, err = cfg.keysOf(c); err != nil {
			return nil, fmt.Errorf("the keys of client %q: %w", c.ID, err)
		}
		all.byID[c.ID] = client
		if c.CloudBase {
			all.cloudbase = append(all.cloudbase, client)
		}
		for _, origin := range c.Origins {
			all.origins[origin] = true
		}
	}
	return all, nil
}

// keysOf returns the keys that the client's assertions are checked with, nil when it
// authenticates otherwise.
func (cfg ClientsConfig) keysOf(c config.Client) (oauth.KeySource, error) {
	if c.AuthMethod() != config.AuthMethodPrivateKey {
		return nil, nil
	}
	if c.JWKSURI != "" {
		return oauth.NewRemoteKeys(oauth.RemoteConfig{
			JWKSURL: c.JWKSURI, InsecureHTTP: true, // validated, and Outbound allows what the configuration does
			Client: cfg.Outbound, Now: cfg.Now, Logger: cfg.Logger.With("client_id", c.ID),
		})
	}
	var set josev4.JSONWebKeySet
	for _, k := range c.JWKS.Keys {
		key, err := k.PublicKey()
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, josev4.JSONWebKey{Key: key, KeyID: k.ID, Algorithm: k.Algorithm, Use: k.Use})
	}
	return oauth.NewStaticKeys(set)
}

// Lookup returns the client registered under id.
func (c *Clients) Lookup(id string) (*Client, bool) {
	client, ok := c.byID[id]
	return client, ok
}

// Client implements fositestore.Clients.
func (c *Clients) Client(id string) (fosite.Client, bool) {
	client, ok := c.byID[id]
	return client, ok // a nil *Client never leaves: ok is false then
}

// CloudBase returns the clients that may use the CloudBase API.
func (c *Clients) CloudBase() []*Client { return c.cloudbase }

// Origin reports whether some client registered the web origin.
func (c *Clients) Origin(origin string) bool { return c.origins[origin] }

// DisplayName is what people read.
func (c *Client) DisplayName() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// AllowsScopes reports whether the client may ask for all of the scopes.
func (c *Client) AllowsScopes(scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(c.Scopes, s) })
}

// audience is who tokens of this client are for: the resources that were asked
// for, else those the client is registered with, else the issuer.
func (c *Client) audience(resources []string) []string {
	switch {
	case len(resources) > 0:
		return resources
	case len(c.Audiences) > 0:
		return c.Audiences
	}
	return []string{c.issuer}
}

// GetID and the rest implement what fosite asks of a client.
func (c *Client) GetID() string { return c.ID }

// GetHashedSecret is empty: fosite does not authenticate our clients.
func (c *Client) GetHashedSecret() []byte { return nil }

// GetRedirectURIs implements fosite.Client.
func (c *Client) GetRedirectURIs() []string { return c.RedirectURIs }

// GetGrantTypes implements fosite.Client.
func (c *Client) GetGrantTypes() fosite.Arguments { return c.GrantTypes }

// GetResponseTypes implements fosite.Client.
func (c *Client) GetResponseTypes() fosite.Arguments { return fosite.Arguments{"code"} }

// GetScopes implements fosite.Client.
func (c *Client) GetScopes() fosite.Arguments { return c.Scopes }

// IsPublic implements fosite.Client.
func (c *Client) IsPublic() bool { return c.Public() }

// GetAudience implements fosite.Client.
func (c *Client) GetAudience() fosite.Arguments { return c.audience(nil) }

// GetResponseModes implements fosite.ResponseModeClient.
func (c *Client) GetResponseModes() []fosite.ResponseModeType {
	return []fosite.ResponseModeType{fosite.ResponseModeQuery}
}

// GetRequestURIs implements fosite.OpenIDConnectClient.
func (c *Client) GetRequestURIs() []string { return nil }

// GetJSONWebKeys implements fosite.OpenIDConnectClient.
func (c *Client) GetJSONWebKeys() *jose.JSONWebKeySet { return nil }

// GetJSONWebKeysURI implements fosite.OpenIDConnectClient.
func (c *Client) GetJSONWebKeysURI() string { return "" }

// GetRequestObjectSigningAlgorithm implements fosite.OpenIDConnectClient. It names
// an algorithm although request objects are refused before: an empty answer makes
// fosite accept unsigned ones.
func (c *Client) GetRequestObjectSigningAlgorithm() string { return "RS256" }

// GetTokenEndpointAuthMethod implements fosite.OpenIDConnectClient.
func (c *Client) GetTokenEndpointAuthMethod() string { return c.AuthMethod() }

// GetTokenEndpointAuthSigningAlgorithm implements fosite.OpenIDConnectClient.
func (c *Client) GetTokenEndpointAuthSigningAlgorithm() string { return "ES256" }
