package provider_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

func TestAS40_OnlyForms(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s := start(t, options{})
	form := values("grant_type", "client_credentials", "client_id", "nobody", "token", "x", "email", "ann@example.com").Encode()
	multipart := "--b\r\nContent-Disposition: form-data; name=\"client_id\"\r\n\r\nnobody\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n"
	for _, path := range machinePosts {
		for name, c := range map[string]struct{ kind, body string }{
			"JSON":           {"application/json", `{"grant_type":"client_credentials"}`},
			"multipart":      {"multipart/form-data; boundary=b", multipart + strings.Repeat("x", 2<<20) + "\r\n--b--\r\n"},
			"tiny multipart": {"multipart/form-data; boundary=b", multipart + "x\r\n--b--\r\n"},
			"text/plain":     {"text/plain", form},
			"none":           {"", form},
			"nonsense":       {"a/b/c; ;", form},
			"almost":         {formType + "x", form},
			"two in one":     {formType + ", text/plain", form},
			"octet-stream":   {"application/octet-stream", form},
			"empty, no type": {"", ""},
		} {
			a := s.send(s.request("POST", path, c.body, "Content-Type", c.kind))
			if a.status != http.StatusBadRequest && a.status != http.StatusUnsupportedMediaType {
				t.Errorf("%s, %s: %d %s", path, name, a.status, a.body)
			}
			if a.json(t)["error"] != "invalid_request" {
				t.Errorf("%s, %s: %s", path, name, a.body)
			}
		}
		a := s.send(s.request("POST", path, form, "Content-Encoding", "gzip"))
		a.is(t, http.StatusBadRequest, "invalid_request")
	}
	// The usual spellings of the one type are fine.
	for _, kind := range []string{formType + "; charset=UTF-8", "Application/X-WWW-Form-Urlencoded", formType + ";charset=utf-8"} {
		s.send(s.request("POST", "/oauth2/token", form, "Content-Type", kind)).is(t, http.StatusUnauthorized, "invalid_client")
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) != 0 {
		t.Errorf("TMPDIR holds %v, %v", left, err)
	}
}

func TestAS41_NothingFromTheQuery(t *testing.T) {
	s := start(t, options{})
	for _, path := range machinePosts {
		for _, c := range []struct{ query, body string }{
			{"grant_type=client_credentials&client_id=" + secretID + "&client_secret=" + backendSecret, ""},
			{"client_id=" + secretID, "grant_type=client_credentials&client_secret=" + backendSecret},
			{"grant_type=client_credentials", "client_id=" + webID},
			{"token=x", "client_id=" + webID},
			{"foo=bar", "client_id=" + webID},
		} {
			s.send(s.request("POST", path+"?"+c.query, c.body, "Content-Type", formType)).is(t, http.StatusBadRequest, "invalid_request")
		}
	}
}

func TestAS42_MalformedForms(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Clients[2].TokenEndpointAuthMethod = config.AuthMethodPost
		c.Clients[2].GrantTypes = append(c.Clients[2].GrantTypes, config.GrantEmailCaptcha)
	}})
	// Complete, so that what drops the broken pair has nothing else to refuse.
	form := "client_id=" + secretID + "&client_secret=" + backendSecret + "&grant_type=client_credentials&token=x&email=ann%40example.com"
	for _, path := range machinePosts {
		if a := s.send(s.request("POST", path, form+"&foo=%7A")); a.status != http.StatusOK {
			t.Errorf("%s, well-formed: %d %s", path, a.status, a.body)
		}
		for name, more := range map[string]string{
			"broken escape": "&scope=%zz", "half an escape": "&scope=%4", "semicolon": "&a;b", "semicolon in a value": "&scope=openid;email",
			"invalid UTF-8": "&scope=%ff", "invalid UTF-8 in a name": "&%ff=x", "NUL": "&scope=%00", "raw NUL": "&scope=\x00", "overlong": "&scope=%c0%80",
			"surrogate": "&scope=%ed%a0%80", "1,001 parameters": strings.Repeat("&a=b", 1001), "1,001 different": manyParameters(1001),
		} {
			a := s.send(s.request("POST", path, form+more))
			if a.status != http.StatusBadRequest || a.json(t)["error"] != "invalid_request" {
				t.Errorf("%s, %s: %d %s", path, name, a.status, a.body)
			}
		}
		a := s.send(s.request("POST", path, form+"&scope="+strings.Repeat("x", 1<<20)))
		if a.status != http.StatusRequestEntityTooLarge || a.json(t)["error"] != "invalid_request" {
			t.Errorf("%s, 1 MiB: %d %s", path, a.status, a.body)
		}
	}
}

func manyParameters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&p%d=1", i)
	}
	return b.String()
}

func TestAS23_RepeatedTokenParameters(t *testing.T) {
	s := start(t, options{})
	tokens := s.tokens("ann@example.com")
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, f := range []struct {
		path string
		form []string
	}{
		{"/oauth2/token", append(exchangeForm(b.nextCode()), "scope", "openid")},
		{"/oauth2/token", []string{"grant_type", "refresh_token", "client_id", webID, "refresh_token", tokens["refresh_token"].(string), "scope", "openid"}},
		{"/oauth2/verification", []string{"client_id", nativeID, "email", "bob@example.com", "scope", "openid", "device_id", "d", "ui_locales", "en"}},
		{"/oauth2/revoke", []string{"client_id", webID, "token", tokens["refresh_token"].(string), "token_type_hint", "refresh_token"}},
	} {
		for i := 0; i < len(f.form); i += 2 {
			for _, second := range []string{f.form[i+1], "other", ""} {
				twice := values(f.form...).Encode() + "&" + url.Values{f.form[i]: {second}}.Encode()
				a := s.send(s.request("POST", f.path, twice))
				if a.status != http.StatusBadRequest || a.json(t)["error"] != "invalid_request" {
					t.Errorf("%s, %s twice: %d %s", f.path, f.form[i], a.status, a.body)
				}
			}
		}
		if a := s.post(f.path, f.form...); a.status != http.StatusOK {
			t.Errorf("%s once each: %d %s", f.path, a.status, a.body)
		}
	}
}

func TestAS43_ChallengeOn401(t *testing.T) {
	s := start(t, options{})
	for _, path := range machinePosts {
		for name, a := range map[string]answer{
			"wrong secret":   s.postAs(secretID, "wrong", path, "token", "x"),
			"unknown client": s.postAs("nobody", "wrong", path, "token", "x"),
			"no client":      s.post(path, "token", "x"),
			"public, secret": s.postAs(webID, "x", path, "token", "x"),
			"bad Basic":      s.send(s.request("POST", path, "token=x", "Authorization", "Basic !")),
			"Bearer":         s.send(s.request("POST", path, "token=x", "Authorization", "Bearer x")),
		} {
			a.is(t, http.StatusUnauthorized, "invalid_client")
			if h := a.header.Values("WWW-Authenticate"); len(h) != 1 || !strings.HasPrefix(h[0], "Basic realm=") {
				t.Errorf("%s, %s: WWW-Authenticate %q", path, name, h)
			}
		}
	}
	wrong, unknown := s.postAs(secretID, "wrong", "/oauth2/token", "token", "x"), s.postAs("nobody!", "wrong", "/oauth2/token", "token", "x")
	if wrong.body != unknown.body {
		t.Errorf("a wrong secret and an unknown client differ:\n%s\n%s", wrong.body, unknown.body)
	}
}

func TestAS44_OneMethod(t *testing.T) {
	s := start(t, options{})
	grant := []string{"grant_type", "client_credentials", "scope", "notes:read"}
	for name, a := range map[string]answer{
		"Basic and body secret":     s.postAs(secretID, backendSecret, "/oauth2/token", append(grant, "client_secret", backendSecret)...),
		"Basic and both in body":    s.postAs(secretID, backendSecret, "/oauth2/token", append(grant, "client_id", secretID, "client_secret", backendSecret)...),
		"Basic A, client_id B":      s.postAs(secretID, backendSecret, "/oauth2/token", append(grant, "client_id", webID)...),
		"assertion and Basic":       s.postAs(secretID, backendSecret, "/oauth2/token", append(grant, "client_assertion", "x", "client_assertion_type", "y")...),
		"assertion alone":           s.post("/oauth2/token", append(grant, "client_id", secretID, "client_assertion", "x")...),
		"post instead of basic":     s.post("/oauth2/token", append(grant, "client_id", secretID, "client_secret", backendSecret)...),
		"Basic of a public client":  s.postAs(webID, "", "/oauth2/token", append(grant, "client_id", webID)...),
		"public, with empty secret": s.post("/oauth2/token", "grant_type", "refresh_token", "refresh_token", "x", "client_id", webID, "client_secret", "x"),
	} {
		if a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	twice := s.request("POST", "/oauth2/token", values(grant...).Encode())
	twice.SetBasicAuth(secretID, backendSecret)
	twice.Header.Add("Authorization", twice.Header.Get("Authorization"))
	s.send(twice).is(t, http.StatusBadRequest, "invalid_request")
	if a := s.postAs(secretID, backendSecret, "/oauth2/token", append(grant, "client_id", secretID)...); a.status != http.StatusOK {
		t.Errorf("Basic and its own client_id: %d %s", a.status, a.body)
	}
}

func TestAS45_ConfidentialStaysConfidential(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		other := c.Clients[2]
		other.ID, other.Secrets = "other", []config.Secret{"another-secret-of-at-least-32-characters", "its-successor-of-at-least-32-characters!"}
		post := other
		post.ID, post.TokenEndpointAuthMethod = "post", config.AuthMethodPost
		c.Clients = append(c.Clients, other, post)
	}})
	grant := []string{"grant_type", "client_credentials"}
	for name, a := range map[string]answer{
		"no secret":               s.post("/oauth2/token", append(grant, "client_id", secretID)...),
		"empty secret":            s.post("/oauth2/token", append(grant, "client_id", secretID, "client_secret", "")...),
		"empty secret by Basic":   s.postAs(secretID, "", "/oauth2/token", grant...),
		"another client's secret": s.postAs(secretID, "another-secret-of-at-least-32-characters", "/oauth2/token", grant...),
		"its own, cut":            s.postAs(secretID, backendSecret[:39], "/oauth2/token", grant...),
		"other case":              s.postAs(secretID, strings.ToUpper(backendSecret), "/oauth2/token", grant...),
		"post, no secret":         s.post("/oauth2/token", append(grant, "client_id", "post")...),
		"post, by Basic":          s.postAs("post", "another-secret-of-at-least-32-characters", "/oauth2/token", grant...),
		"hash of nobody":          s.postAs("nobody", string(make([]byte, 32)), "/oauth2/token", grant...),
	} {
		if a.status != http.StatusUnauthorized || a.json(t)["error"] != "invalid_client" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for _, secret := range []string{"another-secret-of-at-least-32-characters", "its-successor-of-at-least-32-characters!"} {
		if a := s.postAs("other", secret, "/oauth2/token", grant...); a.status != http.StatusOK {
			t.Errorf("one of two secrets: %d %s", a.status, a.body)
		}
		if a := s.post("/oauth2/token", append(grant, "client_id", "post", "client_secret", secret)...); a.status != http.StatusOK {
			t.Errorf("one of two secrets, posted: %d %s", a.status, a.body)
		}
	}
}

func TestAS46_BasicIsFormEncoded(t *testing.T) {
	const id, secret = "a:b", "p%+ & and at least thirty-two characters"
	s := start(t, options{config: func(c *config.Config) {
		odd := c.Clients[2]
		odd.ID, odd.Secrets = id, []config.Secret{secret}
		c.Clients = append(c.Clients, odd)
	}})
	if a := s.postAs(id, secret, "/oauth2/token", "grant_type", "client_credentials"); a.status != http.StatusOK {
		t.Errorf("encoded: %d %s", a.status, a.body)
	}
	basic := func(user, password string) answer {
		header := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
		return s.send(s.request("POST", "/oauth2/token", "grant_type=client_credentials", "Authorization", header))
	}
	basic(id, secret).is(t, http.StatusUnauthorized, "invalid_client")
	basic("a%3Ab", secret).is(t, http.StatusUnauthorized, "invalid_client")
	basic("", "").is(t, http.StatusUnauthorized, "invalid_client")
}

func TestAS47_WholeSecretCounts(t *testing.T) {
	long := strings.Repeat("0123456789", 10)
	s := start(t, options{config: func(c *config.Config) { c.Clients[2].Secrets = []config.Secret{config.Secret(long)} }})
	if a := s.postAs(secretID, long, "/oauth2/token", "grant_type", "client_credentials"); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, wrong := range []string{long[:72] + strings.Repeat("x", 28), long[:72], long[:99], long + "0"} {
		s.postAs(secretID, wrong, "/oauth2/token", "grant_type", "client_credentials").is(t, http.StatusUnauthorized, "invalid_client")
	}
}
