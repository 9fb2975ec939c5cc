package oauth_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/lettergate/lettergate/oauth"
)

func TestClaims(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	claims := goodClaims(noon).with("realm_access", map[string]any{"roles": []string{"editor", `a"b`}}).with("odd \"name\"\n", nil)
	token := wantAccepted(t, v, key.token(t, claims))
	var typed struct {
		Subject string `json:"sub"`
		Realm   struct {
			Roles []string `json:"roles"`
		} `json:"realm_access"`
		SUB string
	}
	if err := token.Claims(&typed); err != nil || typed.Subject != "user-1" || !slices.Equal(typed.Realm.Roles, []string{"editor", `a"b`}) || typed.SUB != "" {
		t.Errorf("%+v, %v", typed, err)
	}
	var all map[string]any
	if err := token.Claims(&all); err != nil || !maps.EqualFunc(all, claims, func(any, any) bool { return true }) {
		t.Errorf("%v, %v", all, err)
	}
	var wrong struct {
		Subject int `json:"sub"`
	}
	if err := token.Claims(&wrong); err == nil {
		t.Error("a string became a number")
	}
	if err := new(oauth.AccessToken).Claims(&all); err != nil {
		t.Errorf("a token without claims: %v", err)
	}
}
