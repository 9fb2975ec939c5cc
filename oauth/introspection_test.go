package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	strict "github.com/go-jose/go-jose/v4/json"

	"github.com/lettergate/lettergate/oauth"
)

const introspectionURL = "https://id.example/introspect"

// A tellingIssuer answers questions about tokens, reached without a network. Set the
// fields before a request or with mu held.
type tellingIssuer struct {
	mu       sync.Mutex
	active   map[string]object // by token
	answer   func(*http.Request) (*http.Response, error)
	metadata string
	asked    []string // tokens
	found    int      // how often the metadata was asked for
}

func (i *tellingIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	rec := httptest.NewRecorder()
	answer := i.answer
	switch r.URL.String() {
	case issuerURL + "/.well-known/openid-configuration":
		i.found++
		answer = nil
		io.WriteString(rec, i.metadata)
	case introspectionURL:
		form, _ := io.ReadAll(r.Body)
		token := strings.TrimSuffix(strings.TrimPrefix(string(form), "token="), "&token_type_hint=access_token")
		i.asked = append(i.asked, token)
		rec.Header().Set("Content-Type", "application/json")
		claims, ok := i.active[token]
		if !ok {
			claims = object{"active": false}
		}
		json.NewEncoder(rec).Encode(claims)
	default:
		rec.WriteHeader(http.StatusNotFound)
	}
	i.mu.Unlock()
	if answer != nil {
		return answer(r)
	}
	return rec.Result(), nil
}

func (i *tellingIssuer) set(token string, claims object) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.active == nil {
		i.active = make(map[string]object)
	}
	if i.active[token] = claims; claims == nil {
		delete(i.active, token)
	}
}

func (i *tellingIssuer) setAnswer(answer func(*http.Request) (*http.Response, error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

// questions is how often it was asked about tokens.
func (i *tellingIssuer) questions() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

// says answers with status and body.
func says(status int, contentType, body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func introspector(t testing.TB, i *tellingIssuer, change func(*oauth.IntrospectionConfig)) *oauth.IntrospectionVerifier {
	t.Helper()
	cfg := oauth.IntrospectionConfig{
		Issuer: issuerURL, Endpoint: introspectionURL, ClientID: "api", ClientSecret: "secret", Audiences: []string{"other", api},
		Client: &http.Client{Transport: i}, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	v, err := oauth.NewIntrospectionVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func activeToken(now time.Time) object {
	return goodClaims(now).with("active", true).with("token_type", "Bearer").with("username", "ann")
}

func TestIntrospection(t *testing.T) {
	i := new(tellingIssuer)
	i.set("opaque", activeToken(time.Now()).with("auth_time", time.Now().Unix()).with("acr", "phr").with("amr", []string{"otp"}))
	v := introspector(t, i, nil)
	token := wantAccepted(t, v, "opaque")
	var name string
	if err := token.Claim("username", &name); err != nil || name != "ann" || token.Subject() != "user-1" || token.ClientID() != "app" ||
		token.Scopes().String() != "notes:read notes:write" || token.ACR() != "phr" || token.Issuer() != issuerURL || token.AuthTime().IsZero() {
		t.Errorf("%+v, %v", token, err)
	}
	wantInvalid(t, v, "unknown")
	wantInvalid(t, v, "")
	wantInvalid(t, v, strings.Repeat("x", 16<<10+1))
	if i.questions() != 2 {
		t.Errorf("asked %q", i.asked)
	}
	// What an answer may leave out.
	i.set("terse", object{"active": true, "aud": api})
	token = wantAccepted(t, v, "terse")
	if token.Subject() != "" || !token.ExpiresAt().IsZero() || token.Issuer() != issuerURL {
		t.Errorf("%+v", token)
	}
	i.set("null", object{"active": true, "aud": api, "sub": nil, "exp": nil, "scope": nil, "nbf": nil, "iss": nil})
	wantAccepted(t, v, "null")
}

// The request is the one of RFC 7662, with the credentials as RFC 6749 encodes them.
func TestIntrospectionRequest(t *testing.T) {
	i := new(tellingIssuer)
	var got *http.Request
	var form string
	i.setAnswer(func(r *http.Request) (*http.Response, error) {
		got = r
		return says(200, "application/json; charset=utf-8", `{"active":true,"aud":"https://api.example"}`)(r)
	})
	v := introspector(t, i, func(cfg *oauth.IntrospectionConfig) { cfg.ClientID, cfg.ClientSecret = "my api:1", "p%+ä s" })
	wantAccepted(t, v, "a+b/c=")
	form = i.asked[0]
	user, password, _ := got.BasicAuth()
	if got.Method != "POST" || user != "my+api%3A1" || password != "p%25%2B%C3%A4+s" || form != "a%2Bb%2Fc%3D" ||
		got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || got.Header.Get("Accept") != "application/json" {
		t.Errorf("%s %v, user %q, password %q, form %q", got.Method, got.Header, user, password, form)
	}
}

func TestRS20_Answers(t *testing.T) {
	now := time.Now()
	good := activeToken(now)
	for name, c := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		want   error
	}{
		"active in quotes":   {claimsAnswer(t, good.with("active", "true")), oauth.ErrInvalidToken},
		"active 1":           {claimsAnswer(t, good.with("active", 1)), oauth.ErrInvalidToken},
		"active null":        {claimsAnswer(t, good.with("active", nil)), oauth.ErrInvalidToken},
		"active false":       {claimsAnswer(t, good.with("active", false)), oauth.ErrInvalidToken},
		"active missing":     {claimsAnswer(t, good.without("active")), oauth.ErrInvalidToken},
		"Active":             {claimsAnswer(t, good.without("active").with("Active", true)), oauth.ErrInvalidToken},
		"other issuer":       {claimsAnswer(t, good.with("iss", issuerURL+"/")), oauth.ErrInvalidToken},
		"issuer of no type":  {claimsAnswer(t, good.with("iss", []string{issuerURL})), oauth.ErrInvalidToken},
		"other service":      {claimsAnswer(t, good.with("aud", "https://other.example")), oauth.ErrInvalidToken},
		"other services":     {claimsAnswer(t, good.with("aud", []string{"x", "y"})), oauth.ErrInvalidToken},
		"aud of no type":     {claimsAnswer(t, good.with("aud", 1)), oauth.ErrInvalidToken},
		"no service":         {claimsAnswer(t, good.without("aud")), oauth.ErrInvalidToken},
		"empty aud":          {claimsAnswer(t, good.with("aud", []string{})), oauth.ErrInvalidToken},
		"expired":            {claimsAnswer(t, good.with("exp", now.Add(-31*time.Second).Unix())), oauth.ErrInvalidToken},
		"exp in words":       {claimsAnswer(t, good.with("exp", "tomorrow")), oauth.ErrInvalidToken},
		"not yet":            {claimsAnswer(t, good.with("nbf", now.Add(time.Hour).Unix())), oauth.ErrInvalidToken},
		"nbf in words":       {claimsAnswer(t, good.with("nbf", "x")), oauth.ErrInvalidToken},
		"from the future":    {claimsAnswer(t, good.with("iat", now.Add(time.Hour).Unix())), oauth.ErrInvalidToken},
		"scope a list":       {claimsAnswer(t, good.with("scope", []string{"admin"})), oauth.ErrInvalidToken},
		"cnf null":           {claimsAnswer(t, good.with("cnf", nil)), oauth.ErrInvalidToken},
		"cnf unknown":        {claimsAnswer(t, good.with("cnf", object{"kid": "x"})), oauth.ErrInvalidToken},
		"bound":              {claimsAnswer(t, good.with("cnf", object{"jkt": tokenHash("x")})), oauth.ErrInvalidToken},
		"a refresh token":    {claimsAnswer(t, good.with("token_use", "refresh_token")), oauth.ErrInvalidToken},
		"a refresh token, 2": {claimsAnswer(t, good.with("typ", "Refresh")), oauth.ErrInvalidToken},
		"an ID token":        {claimsAnswer(t, good.with("typ", "ID")), oauth.ErrInvalidToken},

		"members twice":         {says(200, "application/json", `{"active":false,"active":true,"aud":"https://api.example"}`), oauth.ErrUnavailable},
		"a list":                {says(200, "application/json", `[{"active":true}]`), oauth.ErrUnavailable},
		"true":                  {says(200, "application/json", `true`), oauth.ErrUnavailable},
		"nothing":               {says(200, "application/json", ``), oauth.ErrUnavailable},
		"two documents":         {says(200, "application/json", `{"active":true,"aud":"https://api.example"} {}`), oauth.ErrUnavailable},
		"a page":                {says(200, "text/html", `<p>{"active":true}`), oauth.ErrUnavailable},
		"a JWT":                 {says(200, "application/token-introspection+jwt", `{"active":true,"aud":"https://api.example"}`), oauth.ErrUnavailable},
		"no type":               {says(200, "", `{"active":true,"aud":"https://api.example"}`), oauth.ErrUnavailable},
		"not UTF-8":             {says(200, "application/json", "{\"active\":true,\"aud\":\"https://api.example\",\"x\":\"\xff\"}"), oauth.ErrUnavailable},
		"huge":                  {says(200, "application/json", `{"active":true,"aud":"https://api.example","x":"`+strings.Repeat("x", 64<<10)+`"}`), oauth.ErrUnavailable},
		"huge, of spaces":       {says(200, "application/json", `{"active":true,"aud":"https://api.example"}`+strings.Repeat(" ", 64<<10)), oauth.ErrUnavailable},
		"endless":               {endless, oauth.ErrUnavailable},
		"cut off":               {cutOff, oauth.ErrUnavailable},
		"204":                   {says(204, "application/json", ``), oauth.ErrUnavailable},
		"400":                   {says(400, "application/json", `{"active":true,"aud":"https://api.example"}`), oauth.ErrUnavailable},
		"wrong credentials":     {says(401, "application/json", `{"active":true,"aud":"https://api.example"}`), oauth.ErrUnavailable},
		"429":                   {says(429, "application/json", `{"active":true,"aud":"https://api.example"}`), oauth.ErrUnavailable},
		"500":                   {says(500, "application/json", `{"active":true,"aud":"https://api.example"}`), oauth.ErrUnavailable},
		"503, and false":        {says(503, "application/json", `{"active":false}`), oauth.ErrUnavailable},
		"redirect":              {redirect, oauth.ErrUnavailable},
		"connection refused":    {func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, oauth.ErrUnavailable},
		"transport that panics": {func(*http.Request) (*http.Response, error) { panic("defect") }, oauth.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			i := new(tellingIssuer)
			i.setAnswer(c.answer)
			v := introspector(t, i, nil)
			for range 2 { // nothing of it is remembered as good
				token, err := v.Verify(t.Context(), "opaque-token-value")
				if token != nil || !errors.Is(err, c.want) || errors.Is(err, oauth.ErrInvalidToken) != (c.want == oauth.ErrInvalidToken) {
					t.Errorf("got %+v, %v; want %v", token, err, c.want)
				}
				if err != nil && strings.Contains(err.Error(), "opaque-token") {
					t.Errorf("the error has the token: %v", err)
				}
			}
		})
	}
}

func claimsAnswer(t *testing.T, o object) func(*http.Request) (*http.Response, error) {
	return says(200, "application/json", o.json(t))
}

func endless(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(spaces{})}, nil
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func cutOff(*http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(`{"active":true,"aud":"https://api.example"}`), brokenReader{})
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body)}, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func redirect(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "evil.example" {
		return says(200, "application/json", `{"active":true,"aud":"https://api.example"}`)(r)
	}
	return &http.Response{StatusCode: 307, Header: http.Header{"Location": {"https://evil.example/"}}, Body: http.NoBody}, nil
}

func TestRS20_NobodyWaitsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(tellingIssuer)
		i.setAnswer(slowly)
		v := introspector(t, i, nil)
		start := time.Now()
		wantUnavailable(t, v, "opaque")
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("waited %v", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Verify(ctx, "opaque"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("a caller that left: %v", err)
		}
		pass(10 * time.Second)
	})
}

func TestRS20_MissingAudienceSetting(t *testing.T) {
	i := new(tellingIssuer)
	i.set("opaque", activeToken(time.Now()).without("aud"))
	i.set("other", activeToken(time.Now()).with("aud", "https://other.example"))
	v := introspector(t, i, func(cfg *oauth.IntrospectionConfig) { cfg.SkipMissingAudience = true })
	wantAccepted(t, v, "opaque")
	wantInvalid(t, v, "other")
}

func TestRS22_IntrospectedBinding(t *testing.T) {
	i := new(tellingIssuer)
	print := tokenHash("a key")
	i.set("bound", activeToken(time.Now()).with("cnf", object{"jkt": print}))
	v := introspector(t, i, nil)
	wantInvalid(t, v, "bound")
	token, err := v.VerifyBound(t.Context(), "bound")
	if err != nil || token.Confirmation().JKT != print {
		t.Errorf("%+v, %v", token, err)
	}
	wantInvalid(t, v, "bound") // from what is remembered neither
}

func TestIntrospectionDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &tellingIssuer{metadata: `{"issuer":"https://other.example"}`}
		i.set("opaque", activeToken(time.Now()))
		v := introspector(t, i, func(cfg *oauth.IntrospectionConfig) { cfg.Endpoint = "" })
		for range 10 {
			wantUnavailable(t, v, "opaque")
		}
		if i.found != 1 {
			t.Errorf("the metadata was asked for %d times", i.found)
		}
		for _, bad := range []string{
			`{"issuer":"` + issuerURL + `"}`, `{"issuer":"` + issuerURL + `","introspection_endpoint":"http://id.example/introspect"}`,
			`{"issuer":"` + issuerURL + `","introspection_endpoint":"http://127.0.0.1/introspect"}`,
		} {
			pass(2 * time.Second)
			i.metadata = bad
			wantUnavailable(t, v, "opaque")
		}
		pass(2 * time.Second)
		i.metadata = `{"issuer":"` + issuerURL + `","introspection_endpoint":"` + introspectionURL + `"}`
		wantAccepted(t, v, "opaque")
		asked := i.found
		i.set("second", activeToken(time.Now()))
		wantAccepted(t, v, "second")
		if i.found != asked {
			t.Error("the metadata was asked for again")
		}
		// The endpoint is gone from where it was.
		i.metadata = `{"issuer":"` + issuerURL + `","introspection_endpoint":"` + introspectionURL + `/v2"}`
		i.setAnswer(func(r *http.Request) (*http.Response, error) {
			if r.URL.String() == introspectionURL {
				return says(404, "text/plain", "gone")(r)
			}
			return claimsAnswer(t, activeToken(time.Now()))(r)
		})
		wantUnavailable(t, v, "third")
		wantAccepted(t, v, "third")
	})
}

func TestNewIntrospectionVerifierSettings(t *testing.T) {
	base := oauth.IntrospectionConfig{Issuer: issuerURL, ClientID: "api", ClientSecret: "s", Audiences: []string{api}}
	for name, change := range map[string]func(*oauth.IntrospectionConfig){
		"nobody to ask":      func(c *oauth.IntrospectionConfig) { c.Issuer = "" },
		"issuer":             func(c *oauth.IntrospectionConfig) { c.Issuer = "http://id.example" },
		"endpoint":           func(c *oauth.IntrospectionConfig) { c.Endpoint = "http://u:secret@id.example" },
		"no client":          func(c *oauth.IntrospectionConfig) { c.ClientID = "" },
		"no secret":          func(c *oauth.IntrospectionConfig) { c.ClientSecret = "" },
		"no audience":        func(c *oauth.IntrospectionConfig) { c.Audiences = nil },
		"empty audience":     func(c *oauth.IntrospectionConfig) { c.Audiences = []string{""} },
		"old answers":        func(c *oauth.IntrospectionConfig) { c.MaxAge = time.Hour },
		"negative number":    func(c *oauth.IntrospectionConfig) { c.Answers = -1 },
		"negative number, 2": func(c *oauth.IntrospectionConfig) { c.Concurrent = -1 },
	} {
		cfg := base
		change(&cfg)
		if _, err := oauth.NewIntrospectionVerifier(cfg); err == nil || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := oauth.NewIntrospectionVerifier(base); err != nil {
		t.Error(err)
	}
}

// Whatever the issuer answers, a token is accepted only with the word true, for this
// service and issuer, and within its time.
func FuzzIntrospection(f *testing.F) {
	f.Add(activeToken(noon).json(f))
	f.Add(activeToken(noon).with("aud", []string{api}).with("cnf", object{"jkt": tokenHash("x")}).json(f))
	f.Add(`{"active":"true","aud":"https://api.example"}`)
	f.Add(`{"active":true,"active":true}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, body string) {
		i := &tellingIssuer{answer: says(200, "application/json", body)}
		v := introspector(t, i, func(cfg *oauth.IntrospectionConfig) { cfg.Now = func() time.Time { return noon } })
		token, err := v.VerifyBound(context.Background(), "opaque")
		if err != nil {
			if token != nil || errors.Is(err, oauth.ErrInvalidToken) == errors.Is(err, oauth.ErrUnavailable) || strings.Contains(err.Error(), "panic") {
				t.Errorf("%q: %v, %v", body, token, err)
			}
			return
		}
		var said struct {
			Active *bool `json:"active"`
		}
		if err := strict.Unmarshal([]byte(body), &said); err != nil || said.Active == nil || !*said.Active {
			t.Errorf("%q was accepted: %v", body, err)
		}
		if token.Issuer() != issuerURL || !token.HasAudience(api) && !token.HasAudience("other") || !token.ExpiresAt().IsZero() && token.ExpiresAt().Before(noon.Add(-time.Minute)) {
			t.Errorf("%q was accepted: %+v", body, token)
		}
	})
}

// A token that the issuer calls one of DPoP is bound to a key. When the answer does not say
// to which, nobody can prove it, and it is no bearer token for that.
func TestRS22_IntrospectedDPoPWithoutKey(t *testing.T) {
	for _, c := range []struct {
		kind string
		good bool
	}{{"DPoP", false}, {"dpop", false}, {"refresh_token", false}, {"Bearer", true}, {"bearer", true}} {
		i := new(tellingIssuer)
		i.set("opaque", activeToken(time.Now()).with("token_type", c.kind))
		v := introspector(t, i, nil)
		if _, err := v.Verify(t.Context(), "opaque"); (err == nil) != c.good || err != nil && !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("token_type %s: %v", c.kind, err)
		}
	}
}
