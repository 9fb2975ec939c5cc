package interop_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// A zitadelStorage is the one of zitadel/oidc's example, for clients that want tokens of
// one type for our service.
type zitadelStorage struct {
	*storage.Storage
	tokens op.AccessTokenType
}

type zitadelClient struct {
	op.Client
	tokens op.AccessTokenType
}

func (c zitadelClient) AccessTokenType() op.AccessTokenType { return c.tokens }
func (c zitadelClient) IsScopeAllowed(string) bool          { return true }

type zitadelRequest struct{ op.AuthRequest }

func (zitadelRequest) GetAudience() []string { return []string{api} }

func (s *zitadelStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := s.Storage.GetClientByClientID(ctx, id)
	return zitadelClient{client, s.tokens}, err
}

func (s *zitadelStorage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	client, err := s.Storage.ClientCredentials(ctx, id, secret)
	return zitadelClient{client, s.tokens}, err
}

func (s *zitadelStorage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{api}, Scopes: scopes}, nil
}

func (s *zitadelStorage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	request, err := s.Storage.AuthRequestByCode(ctx, code)
	return zitadelRequest{request}, err
}

// newZitadel starts the example server of zitadel/oidc and returns its issuer.
func newZitadel(t *testing.T, tokens op.AccessTokenType) string {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	clients := map[string]*storage.Client{
		"web": storage.NativeClient("web", callback),
		api:   storage.WebClient(api, serviceSecret), // the service, as one that asks about tokens
	}
	s := &zitadelStorage{storage.NewStorageWithClients(storage.NewUserStore(issuer), clients), tokens}
	server.Config.Handler = exampleop.SetupServer(issuer, s, slog.New(slog.DiscardHandler), false)
	server.Start()
	t.Cleanup(server.Close)
	return issuer
}

// zitadelSignIn signs somebody in.
func zitadelSignIn(t *testing.T, issuer string) *oauth2.Token {
	t.Helper()
	cfg := &oauth2.Config{ClientID: "web", RedirectURL: callback, Scopes: []string{"openid", "offline_access", "notes:read"}, Endpoint: oauth2.Endpoint{
		AuthURL: issuer + "/auth", TokenURL: issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams,
	}}
	return newPerson(t, url.Values{"username": {"test-user2"}, "password": {"verysecure"}}).signIn(cfg)
}

// TestZitadel tries the JWTs of zitadel/oidc. Its ID tokens are for the service as well,
// and nothing in the header of either tells them apart, so none of them is accepted.
func TestZitadel(t *testing.T) {
	issuer := newZitadel(t, op.AccessTokenTypeJWT)
	verifier, err := middleware.ForIssuer(issuer, api)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	signedIn := zitadelSignIn(t, issuer)
	idToken, _ := signedIn.Extra("id_token").(string)
	service := clientcredentials.Config{
		ClientID: "sid1", ClientSecret: "verysecret", TokenURL: issuer + "/oauth/token", Scopes: []string{"notes:read"},
	}
	for _, c := range []struct{ name, token, lacks string }{
		{"RS06_Machine", machine(t, service), ""},
		{"RS06_Person", signedIn.AccessToken, ""},
		{"RS06_IDToken", idToken, "jti"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refuses(t, protect(verifier), c.token, http.StatusUnauthorized, oauth.CodeInvalidToken)
			if got := reason(t, verifier, c.token); !strings.Contains(got, "typ is not at+jwt") {
				t.Errorf("refused because: %s", got)
			}
			header, claims := opened(t, keys, c.token)
			if header.ExtraHeaders["typ"] != "JWT" {
				t.Errorf("typ %q", header.ExtraHeaders["typ"])
			}
			// All that RFC 9068 section 2.2 requires.
			for _, name := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
				if has := claims[name] != nil; has == (name == c.lacks) {
					t.Errorf("has %s: %v", name, has)
				}
			}
		})
	}
}

// opened returns what a JWT says whose signature is good by the issuer's keys.
func opened(t *testing.T, keys oauth.KeySource, token string) (header jose.Header, claims map[string]any) {
	t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	header = signed.Signatures[0].Header
	key, err := keys.Key(t.Context(), header.KeyID, header.Algorithm)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(key)
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return header, claims
}
