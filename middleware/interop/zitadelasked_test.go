package interop_test

import (
	"net/http"
	"testing"

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/lettergate/lettergate/oauth"
)

// TestZitadelAsked asks zitadel/oidc about its tokens, of both types. It tells a service
// about the tokens that are for it, and does not say so.
func TestZitadelAsked(t *testing.T) {
	for name, tokens := range map[string]op.AccessTokenType{"JWT": op.AccessTokenTypeJWT, "Opaque": op.AccessTokenTypeBearer} {
		t.Run(name, func(t *testing.T) {
			issuer := newZitadel(t, tokens)
			verifier := func(skipMissingAudience bool) oauth.Verifier {
				v, err := oauth.NewIntrospectionVerifier(oauth.IntrospectionConfig{
					Issuer: issuer, ClientID: api, ClientSecret: serviceSecret, Audiences: []string{api}, SkipMissingAudience: skipMissingAudience,
				})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			signedIn := zitadelSignIn(t, issuer)
			route := protect(verifier(true), "notes:read")
			passes(t, route, signedIn.AccessToken, "id2 by  with openid offline_access notes:read")
			idToken, _ := signedIn.Extra("id_token").(string)
			for _, token := range []string{idToken, signedIn.RefreshToken, signedIn.AccessToken + "a"} {
				refuses(t, route, token, http.StatusUnauthorized, oauth.CodeInvalidToken)
			}
			refuses(t, protect(verifier(false)), signedIn.AccessToken, http.StatusUnauthorized, oauth.CodeInvalidToken)
		})
	}
}
