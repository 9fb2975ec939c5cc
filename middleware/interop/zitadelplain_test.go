package interop_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/lettergate/lettergate/oauth"
)

// GetPrivateClaimsFromScopes is where a program that uses zitadel/oidc puts the scope
// into its JWTs.
func (s *zitadelStorage) GetPrivateClaimsFromScopes(_ context.Context, _, _ string, scopes []string) (map[string]any, error) {
	return map[string]any{"scope": strings.Join(scopes, " ")}, nil
}

// TestZitadelPlain accepts the JWTs of zitadel/oidc for what their claims say, and not its
// ID tokens, which are for the service as well.
func TestZitadelPlain(t *testing.T) {
	issuer := newZitadel(t, op.AccessTokenTypeJWT)
	keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuer, Audiences: []string{api}, AcceptPlainJWT: true}, keys)
	if err != nil {
		t.Fatal(err)
	}
	route := protect(v, "notes:read")
	passes(t, route, machine(t, clientcredentials.Config{
		ClientID: "sid1", ClientSecret: "verysecret", TokenURL: issuer + "/oauth/token", Scopes: []string{"notes:read"},
	}), "sid1 by sid1 with notes:read")
	cfg := &oauth2.Config{ClientID: "web", RedirectURL: callback, Scopes: []string{"openid", "notes:read"}, Endpoint: oauth2.Endpoint{
		AuthURL: issuer + "/auth", TokenURL: issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams,
	}}
	signedIn := newPerson(t, url.Values{"username": {"test-user2"}, "password": {"verysecure"}}).signIn(cfg)
	passes(t, route, signedIn.AccessToken, "id2 by web with openid notes:read")
	idToken, _ := signedIn.Extra("id_token").(string)
	refuses(t, route, idToken, http.StatusUnauthorized, oauth.CodeInvalidToken)
}
