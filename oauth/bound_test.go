package oauth_test

import (
	"errors"
	"testing"

	"github.com/lettergate/lettergate/oauth"
)

func TestRS22_BoundToken(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	for _, cnf := range []any{
		map[string]string{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, map[string]string{"x5t#S256": "x"},
		map[string]string{"unheard-of": "x"}, map[string]string{}, nil, "x",
	} {
		wantInvalid(t, v, key.token(t, goodClaims(noon).with("cnf", cnf)))
	}
}

// Who can see a proof learns which one to ask for. What cannot be understood is no
// binding to nothing.
func TestRS22_VerifyBound(t *testing.T) {
	const print = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	for _, c := range []struct {
		cnf  any
		want oauth.Confirmation
	}{
		{map[string]string{"jkt": print}, oauth.Confirmation{JKT: print}},
		{map[string]string{"x5t#S256": print}, oauth.Confirmation{X5TS256: print}},
	} {
		claims, err := v.VerifyBound(t.Context(), key.token(t, goodClaims(noon).with("cnf", c.cnf)))
		if err != nil || claims.Confirmation() != c.want {
			t.Errorf("%v: %+v, %v", c.cnf, claims, err)
		}
	}
	for _, cnf := range []any{
		map[string]string{"jkt": print, "x5t#S256": print}, map[string]string{"jkt": print, "kid": "x"}, map[string]string{"JKT": print},
		map[string]string{"jkt": print[1:]}, map[string]string{"jkt": print + "="}, map[string]string{"jkt": print[:42] + "J"}, map[string]string{"jkt": ""},
		map[string]string{"unheard-of": print}, map[string]any{"jkt": 1}, map[string]any{"jkt": nil}, map[string]string{}, []string{print}, print, nil,
	} {
		claims, err := v.VerifyBound(t.Context(), key.token(t, goodClaims(noon).with("cnf", cnf)))
		if claims != nil || !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("%v: %+v, %v", cnf, claims, err)
		}
	}
	if claims, err := v.VerifyBound(t.Context(), key.token(t, goodClaims(noon))); err != nil || claims.Confirmation() != (oauth.Confirmation{}) {
		t.Errorf("a plain token: %v", err)
	}
}
