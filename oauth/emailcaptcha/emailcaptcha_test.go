package emailcaptcha_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"

	"github.com/lettergate/lettergate/oauth/emailcaptcha"
)

// session is the session of a program that runs fosite already.
type session struct{ openid.DefaultSession }

func (s *session) SetAuthentication(subject string, at time.Time, acr string, amr []string) {
	s.Subject = subject
	s.IDTokenClaims().Subject = subject
	s.IDTokenClaims().AuthTime = at
	s.IDTokenClaims().AuthenticationContextClassReference = acr
	s.IDTokenClaims().AuthenticationMethodsReferences = amr
}

func (s *session) Clone() fosite.Session {
	return &session{DefaultSession: *s.DefaultSession.Clone().(*openid.DefaultSession)}
}

// oneCode knows one code, which can be spent once.
type oneCode struct {
	spent bool
	err   error // an outage
	asked []emailcaptcha.Redemption
}

func (c *oneCode) Redeem(_ context.Context, r emailcaptcha.Redemption) (emailcaptcha.Authentication, error) {
	c.asked = append(c.asked, r)
	switch {
	case c.err != nil:
		return emailcaptcha.Authentication{}, c.err
	case slices.Contains(r.Scopes, "wider"):
		return emailcaptcha.Authentication{}, emailcaptcha.ErrScope
	case c.spent || r.Code != "123456" || r.VerificationID != "v1":
		return emailcaptcha.Authentication{}, emailcaptcha.ErrInvalid
	}
	c.spent = true
	return emailcaptcha.Authentication{Subject: "ann", Scopes: []string{"openid", "offline"}, At: time.Now(), AMR: []string{"otp"}}, nil
}

// newProgram mounts the grant into an ordinary fosite program.
func newProgram(t *testing.T) (http.Handler, *oneCode) {
	t.Helper()
	cfg := &fosite.Config{GlobalSecret: []byte("a secret of at least thirty-two bytes!!"), ScopeStrategy: fosite.ExactScopeStrategy}
	store := storage.NewMemoryStore()
	for id, grants := range map[string][]string{"cli": {emailcaptcha.GrantType, "refresh_token"}, "other": {"authorization_code"}} {
		store.Clients[id] = &fosite.DefaultClient{ID: id, Public: true, GrantTypes: grants, Scopes: []string{"openid", "offline", "wider"}}
	}
	tokens := compose.NewOAuth2HMACStrategy(cfg)
	code := &oneCode{}
	handler := &emailcaptcha.Handler{
		Redeemer: code, AccessTokens: tokens, RefreshTokens: tokens, Storage: store, Config: cfg,
	}
	cfg.TokenEndpointHandlers = fosite.TokenEndpointHandlers{handler, &oauth2.RefreshTokenGrantHandler{
		AccessTokenStrategy: tokens, RefreshTokenStrategy: tokens, TokenRevocationStorage: store, Config: cfg,
	}}
	provider := fosite.NewOAuth2Provider(store, cfg)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, err := provider.NewAccessRequest(ctx, r, &session{})
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		response, err := provider.NewAccessResponse(ctx, request)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		provider.WriteAccessResponse(ctx, w, request, response)
	}), code
}

func ask(h http.Handler, pairs ...string) (int, string) {
	form := url.Values{"grant_type": {emailcaptcha.GrantType}, "client_id": {"cli"}, "verification_id": {"v1"}, "verification_code": {"123456"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestACodeSignsInOnce(t *testing.T) {
	h, code := newProgram(t)
	status, body := ask(h, "code_verifier", "the-verifier")
	if status != 200 || !strings.Contains(body, `"refresh_token"`) || !strings.Contains(body, `"access_token"`) {
		t.Fatalf("%d %s", status, body)
	}
	want := emailcaptcha.Redemption{ClientID: "cli", VerificationID: "v1", Code: "123456", CodeVerifier: "the-verifier"}
	if got := code.asked[0]; got.ClientID != want.ClientID || got.VerificationID != want.VerificationID || got.Code != want.Code || got.CodeVerifier != want.CodeVerifier {
		t.Errorf("redeemed %+v, want %+v", got, want)
	}
	if status, body = ask(h); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("the second time: %d %s", status, body)
	}
}

func TestWhatIsWrongWithACodeIsNotTold(t *testing.T) {
	h, _ := newProgram(t)
	_, unknown := ask(h, "verification_id", "v2")
	_, wrong := ask(h, "verification_code", "654321")
	ask(h)
	_, used := ask(h)
	if !strings.Contains(unknown, "invalid_grant") || unknown != wrong || wrong != used {
		t.Errorf("three answers:\n%s\n%s\n%s", unknown, wrong, used)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		pairs  []string
		status int
		code   string
		asked  bool // whether the redeemer may have been asked
	}{
		{"a client without the grant", []string{"client_id", "other"}, 400, "unauthorized_client", false},
		{"an unknown client", []string{"client_id", "nobody"}, 401, "invalid_client", false},
		{"a scope that is not the client's", []string{"scope", "admin"}, 400, "invalid_scope", false},
		{"a scope wider than the start", []string{"scope", "wider"}, 400, "invalid_scope", true},
		{"no code", []string{"verification_code", ""}, 400, "invalid_request", false},
		{"no verification", []string{"verification_id", ""}, 400, "invalid_request", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, code := newProgram(t)
			status, body := ask(h, c.pairs...)
			if status != c.status || !strings.Contains(body, `"`+c.code+`"`) {
				t.Errorf("%d %s, want %d %s", status, body, c.status, c.code)
			}
			if !c.asked && len(code.asked) > 0 {
				t.Error("the redeemer was asked")
			}
			if code.spent {
				t.Error("the code was spent")
			}
		})
	}
}

func TestAnOutageIsNotAWrongCode(t *testing.T) {
	h, code := newProgram(t)
	code.err = errors.New("no store")
	if status, body := ask(h); status != 500 || !strings.Contains(body, "server_error") {
		t.Errorf("%d %s", status, body)
	}
	code.err = nil
	if status, body := ask(h); status != 200 {
		t.Errorf("after the outage: %d %s", status, body)
	}
}
