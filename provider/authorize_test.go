package provider_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
)

func TestAS05_NoTokensInTheFrontChannel(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, kind := range []string{"token", "id_token", "id_token token", "code token", "code id_token", "code id_token token", "none", "Code", "code code"} {
		a := b.send(s.request("GET", authorizePath(webID, "response_type", kind), ""))
		a.redirectsError(t, "unsupported_response_type")
		if strings.Contains(a.header.Get("Location"), "#") {
			t.Errorf("%s: something in the fragment: %s", kind, a.header.Get("Location"))
		}
	}
	b.send(s.request("GET", authorizePath(webID, "response_type", ""), "")).redirectsError(t, "invalid_request")
	for _, mode := range []string{"fragment", "query.jwt", "web_message"} {
		b.send(s.request("GET", authorizePath(webID, "response_mode", mode), "")).redirectsError(t, "invalid_request")
	}
	if q := b.get(authorizePath(webID, "response_mode", "query")).arrives(t, callback); q.Get("code") == "" {
		t.Errorf("response_mode=query: %v", q)
	}
}

func TestAS07_PKCERequired(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		strict := c.Clients[2]
		strict.ID, strict.PKCE = "strict", ""
		c.Clients = append(c.Clients, strict)
	}})
	none := []string{"code_challenge", "", "code_challenge_method", ""}
	for _, client := range []string{webID, thirdID, "strict"} {
		s.get(authorizePath(client, none...)).redirectsError(t, "invalid_request")
		s.get(authorizePath(client, append(none, "nonce", "n")...)).redirectsError(t, "invalid_request")
	}
	if a := s.get(authorizePath(secretID, none...)); a.status != http.StatusOK {
		t.Errorf("a confidential client with pkce: optional gets %d", a.status)
	}
}

func TestAS08_OnlyS256(t *testing.T) {
	s := start(t, options{})
	for _, client := range []string{webID, secretID} {
		for _, method := range []string{"plain", "", "s256", "S512", "S256 "} {
			s.get(authorizePath(client, "code_challenge_method", method)).redirectsError(t, "invalid_request")
		}
		for _, c := range []string{verifier[:42], verifier + "=", strings.Repeat("a", 43), strings.Repeat("A", 44), "+" + challenge(verifier)[1:], strings.Repeat("x", 5000)} {
			s.get(authorizePath(client, "code_challenge", c)).redirectsError(t, "invalid_request")
		}
		s.get(authorizePath(client, "code_challenge", "")).redirectsError(t, "invalid_request")
	}
}

func TestAS19_Issuer(t *testing.T) {
	s := start(t, options{path: "/id"})
	b := s.browser()
	failure := b.send(s.request("GET", authorizePath(webID, "prompt", "none"), "")).redirectsError(t, "login_required")
	success := b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, q := range []url.Values{failure, success} {
		if q.Get("iss") != s.provider.Issuer() || len(q["iss"]) != 1 {
			t.Errorf("iss is %v, want %s", q["iss"], s.provider.Issuer())
		}
	}
	if s.get("/.well-known/openid-configuration").json(t)["authorization_response_iss_parameter_supported"] != true {
		t.Error("the metadata does not say that iss is there")
	}
}

func TestAS23_RepeatedAuthorizeParameters(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	path := authorizePath(webID, "prompt", "none", "max_age", "60", "login_hint", "ann@example.com", "ui_locales", "en")
	_, query, _ := strings.Cut(path, "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range params {
		for _, second := range []string{values[0], "other", ""} {
			twice := query + "&" + url.Values{name: {second}}.Encode()
			b.send(s.request("GET", "/oauth2/authorize?"+twice, "")).isPage(t, http.StatusBadRequest)
			b.send(s.request("POST", "/oauth2/authorize", twice)).isPage(t, http.StatusBadRequest)
		}
	}
	// Names are compared after decoding.
	b.send(s.request("GET", path+"&client%5Fid=third", "")).isPage(t, http.StatusBadRequest)
}

func TestAS24_UnknownAndEmptyParameters(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	_, query, _ := strings.Cut(authorizePath(webID, "state", ""), "?")
	empty := "&foo=bar&state=&max_age=&prompt=&id_token_hint=&request=&request_uri=&registration=&response_mode=&resource=&resume=&login_hint=&%F0%9F%92%8C=1"
	q := b.get("/oauth2/authorize?"+query+empty).arrives(t, callback)
	if q.Get("code") == "" || q.Has("state") || q.Has("foo") || len(q) != 2 {
		t.Fatalf("the client gets %v", q)
	}
	tokens := s.exchange(q.Get("code")).json(t)
	if tokens["scope"] != "openid email offline_access" {
		t.Errorf("scope %v", tokens["scope"])
	}
	// Without a scope the client gets none.
	_, query, _ = strings.Cut(authorizePath(webID, "scope", ""), "?")
	q = b.get("/oauth2/authorize?"+query+"&scope=").arrives(t, callback)
	tokens = s.exchange(q.Get("code")).json(t)
	if tokens["access_token"] == nil || tokens["id_token"] != nil || tokens["refresh_token"] != nil || tokens["scope"] != nil {
		t.Errorf("without a scope: %v", tokens)
	}
}

func TestAS25_StateByteForByte(t *testing.T) {
	s := start(t, options{})
	for name, state := range map[string]string{
		"one character": "x", "2 KiB": strings.Repeat("0123456789abcdef", 128), "specials": `&=%"<>'+#;?/\ ~%00%zz`,
		"UTF-8": "ключ-鍵-🔑-é", "markup": `"><script>alert(1)</script>`, "a number": "0", "line ends": "a\r\nSet-Cookie: x=y\n\tb",
		"spaces": "  two  ", "only a space": " ", "JSON": `{"a":["b",1]}`, "separators": "a\u2028b\u2029c",
	} {
		t.Run(name, func(t *testing.T) {
			path := authorizePath(webID, "state", state)
			b := s.browser()
			for what, q := range map[string]url.Values{
				"error":            b.send(s.request("GET", path+"&prompt=none", "")).redirectsError(t, "login_required"),
				"after signing in": b.signIn(path, "ann@example.com").arrives(t, callback),
				"signed in":        b.get(path).arrives(t, callback),
			} {
				if got := q["state"]; len(got) != 1 || got[0] != state {
					t.Errorf("%s: state %q came back as %q", what, state, got)
				}
				if what != "error" && q.Get("code") == "" {
					t.Errorf("%s: the state %q gets no code, but %v", what, state, q)
				}
			}
		})
	}
	if q := s.get(authorizePath(webID, "state", "", "prompt", "none")).redirectsError(t, "login_required"); q.Has("state") {
		t.Errorf("a state came out of nothing: %v", q)
	}
}

// A request that a page can show, the page can also send on.
func TestAS25_LongState(t *testing.T) {
	s := start(t, options{})
	for _, n := range []int{4 << 10, 8 << 10, 12 << 10, 23 << 10, 24 << 10, 60 << 10} {
		for _, char := range []string{"x", "<", "\u2028", "\x01"} {
			state := strings.Repeat(char, n/len(char))
			b := s.browser()
			page := b.get(authorizePath(webID, "state", state))
			if page.status != http.StatusOK {
				page.isPage(t, http.StatusBadRequest)
				continue
			}
			page = b.submit(page, "email", "email", "ann@example.com")
			if page.status != http.StatusOK {
				t.Errorf("%d bytes of %q: the sign-in page cannot be sent: %d", n, char, page.status)
				continue
			}
			if q := b.submit(page, "code", "code", s.code("ann@example.com")).arrives(t, callback); q.Get("state") != state {
				t.Errorf("%d bytes of %q came back as %d", n, char, len(q.Get("state")))
			}
		}
	}
}

func TestAS26_Scopes(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].Scopes = append(c.Clients[0].Scopes, "users.*") }})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, scope := range []string{
		"no:such", "openid no:such", "users.delete.all", "users.", "notes", "notes:*", "*", "NOTES:READ", "OpenID", "notes:read:all",
		`"`, `openid\`, `openid"`, "openid  email", " openid", "openid ", "openid\temail", "openid\nemail", "openid,email", "opénid", "openid+email",
		strings.TrimSpace(strings.Repeat("a ", 10_000)), strings.TrimSpace(strings.Repeat("a ", 1025)),
	} {
		b.send(s.request("GET", authorizePath(webID, "scope", scope), "")).redirectsError(t, "invalid_scope")
	}
	b.send(s.request("GET", authorizePath(webID, "scope", "openid\x00"), "")).isPage(t, http.StatusBadRequest)
	// Said twice is said once.
	q := b.get(authorizePath(webID, "scope", "openid openid email openid")).arrives(t, callback)
	if got := s.exchange(q.Get("code")).json(t)["scope"]; got != "openid email" {
		t.Errorf("scope %v", got)
	}
}

func TestAS27_RequestObjects(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	part := base64.RawURLEncoding.EncodeToString
	object := part([]byte(`{"alg":"none"}`)) + "." + part([]byte(`{"client_id":"third","state":"changed","scope":"notes:read","redirect_uri":"https://evil.example"}`)) + "."
	for param, code := range map[string]string{"request": "request_not_supported", "request_uri": "request_uri_not_supported", "registration": "registration_not_supported"} {
		q := b.send(s.request("GET", authorizePath(webID, param, object), "")).redirectsError(t, code)
		if q.Get("state") != "some-state" {
			t.Errorf("%s changed the state to %q", param, q.Get("state"))
		}
	}
}

func TestAS28_NoFetchFromInput(t *testing.T) {
	var hits atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer target.Close()
	s := start(t, options{})
	begun := time.Now()
	for _, uri := range []string{target.URL + "/x", "http://169.254.169.254/latest/meta-data", strings.Replace(target.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		for _, name := range []string{"request_uri", "sector_identifier_uri", "jwks_uri", "logo_uri", "client_uri", "policy_uri", "id_token_hint", "login_hint", "registration", "request", "resource"} {
			s.get(authorizePath(webID, name, uri))
			s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", name, uri)
			s.post("/oauth2/verification", "client_id", nativeID, "email", "not an address", name, uri)
		}
		s.get("/oauth2/logout?" + values("post_logout_redirect_uri", uri, "client_id", webID).Encode())
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the answers took %s: something was fetched", took)
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests to an address from the input", n)
	}
}

func TestPostedAuthorizeWorksLikeGet(t *testing.T) {
	s := start(t, options{path: "/id"})
	path := authorizePath(webID)
	_, form, _ := strings.Cut(path, "?")
	b := s.browser()
	post := func(form string) answer {
		resp, err := b.client.Do(s.request("POST", "/oauth2/authorize", form))
		return read(t, resp, err)
	}
	page := post(form)
	page = b.submit(page, "email", "email", "ann@example.com")
	if q := b.submit(page, "code", "code", s.code("ann@example.com")).arrives(t, callback); q.Get("code") == "" || q.Get("state") != "some-state" {
		t.Fatalf("signed in by POST: %v", q)
	}
	// A cross-site POST brings no cookies, the GET that it becomes does.
	first := s.send(s.request("POST", "/oauth2/authorize", form))
	if to := first.header.Get("Location"); first.status != http.StatusSeeOther || !strings.HasPrefix(to, "/id/oauth2/authorize?") {
		t.Fatalf("%d to %q, want the same request as a GET", first.status, to)
	}
	if q := post(form).arrives(t, callback); q.Get("code") == "" {
		t.Errorf("signed in, by POST: %v", q)
	}
	post(form+"&scope=twice").isPage(t, http.StatusBadRequest)
	post(strings.Replace(form, "app.example", "evil.example", 1)).isPage(t, http.StatusBadRequest)
	b.send(s.request("POST", path, form)).isPage(t, http.StatusBadRequest) // both at once
	b.send(s.request("POST", "/oauth2/authorize", form, "Content-Type", "text/plain")).isPage(t, http.StatusBadRequest)
	// One that is too long to be a URL cannot become one.
	long := s.send(s.request("POST", "/oauth2/authorize", form+"&login_hint="+strings.Repeat("a", 9<<10)))
	long.isPage(t, http.StatusRequestEntityTooLarge)
}
