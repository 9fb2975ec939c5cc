package provider_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
)

// The rules of parameters and of client authentication are about every endpoint, so
// here each is asked.

// complete is a form that each endpoint for machines would take, but for the client.
var complete = map[string][]string{
	"/oauth2/token":        {"grant_type", "client_credentials", "scope", "notes:read"},
	"/oauth2/verification": {"email", "ann@example.com", "scope", "notes:read"},
	"/oauth2/introspect":   {"token", "x"},
	"/oauth2/revoke":       {"token", "x"},
}

// everywhere lets the confidential client use every endpoint for machines.
func everywhere(c *config.Config) {
	c.Clients[2].GrantTypes = append(c.Clients[2].GrantTypes, config.GrantEmailCaptcha)
}

func TestAS23_EveryParameterOnce(t *testing.T) {
	s := start(t, options{config: everywhere})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	_, query, _ := strings.Cut(authorizePath(webID), "?")
	for _, name := range []string{"client_id", "redirect_uri", "scope", "state", "code", "grant_type", "code_verifier", "refresh_token", "token", "client_secret", "foo"} {
		for _, values := range [][2]string{{"x", "x"}, {"x", ""}, {"", "x"}, {"", ""}} {
			params, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			params[name] = values[:]
			b.send(s.request("GET", "/oauth2/authorize?"+params.Encode(), "")).isPage(t, http.StatusBadRequest)
			b.send(s.request("POST", "/oauth2/authorize", params.Encode())).isPage(t, http.StatusBadRequest)
			for path, form := range complete {
				params := url.Values{}
				for i := 0; i < len(form); i += 2 {
					params.Set(form[i], form[i+1])
				}
				params[name] = values[:]
				req := s.request("POST", path, params.Encode())
				req.SetBasicAuth(secretID, backendSecret)
				if a := s.send(req); a.status != http.StatusBadRequest || a.json(t)["error"] != "invalid_request" {
					t.Errorf("%s, %s=%q: %d %s", path, name, values, a.status, a.body)
				}
			}
		}
	}
	for path, form := range complete { // each once
		if a := s.postAs(secretID, backendSecret, path, form...); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestAS24_UnknownAndEmptyToMachines(t *testing.T) {
	s := start(t, options{config: everywhere})
	for path, form := range complete {
		// The method of authentication is what is there, so an empty secret is none.
		more := append([]string{"foo", "bar", "state", "", "client_secret", "", "client_assertion", "", "code", "", "resource", "", "\U0001f48c", "1"}, form...)
		if a := s.postAs(secretID, backendSecret, path, more...); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	got := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", "scope", "").json(t)
	if got["access_token"] == nil || got["scope"] != nil {
		t.Errorf("an empty scope: %v", got)
	}
	s.postAs(secretID, backendSecret, "/oauth2/revoke", "token", "").is(t, http.StatusBadRequest, "invalid_request")
}

func TestAS26_ScopesOfMachines(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		everywhere(c)
		c.Clients[2].Scopes = append(c.Clients[2].Scopes, "users.*")
	}})
	for _, scope := range []string{
		"no:such", "notes:read no:such", "users.delete.all", "users.", "notes", "notes:*", "*", "NOTES:READ", "notes:read:all", `"`, `notes:read\`, "notes:read  email",
		" notes:read", "notes:read ", "notes:read\temail", "notes:read,email", "n\u00f6tes:read", strings.TrimSpace(strings.Repeat("a ", 10_000)),
	} {
		for _, path := range []string{"/oauth2/token", "/oauth2/verification"} {
			form := append(without("scope", complete[path]), "scope", scope)
			s.postAs(secretID, backendSecret, path, form...).is(t, http.StatusBadRequest, "invalid_scope")
		}
	}
	if n := len(s.inbox.Messages()); n != 0 {
		t.Errorf("%d mails", n)
	}
	got := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", "scope", "users.* users.*").json(t)
	if got["scope"] != "users.*" {
		t.Errorf("what is registered is a name like others: %v", got)
	}
}

// zeros is a body of n bytes that counts what is read of it.
type zeros struct{ n, read int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.read >= z.n {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n-z.read)
	z.read += n
	return int(n), nil
}

// Nothing is read of what is no form, and of a form no more than it may have.
func TestAS40_NothingIsReadInVain(t *testing.T) {
	s := start(t, options{direct: true})
	for _, path := range append([]string{"/oauth2/userinfo", "/oauth2/authorize", "/oauth2/logout", "/login/email", "/login/code", "/consent"}, machinePosts...) {
		for kind, most := range map[string]int64{
			"multipart/form-data; boundary=b": 0, "application/json": 0, "text/plain": 0, "application/octet-stream": 0, formType: oauthcore.MaxPage + 4<<10,
		} {
			body := &zeros{n: 64 << 20}
			req := s.request("POST", path, "", "Content-Type", kind)
			req.Body = io.NopCloser(body)
			a := s.send(req)
			if a.status < 400 || a.status > 499 {
				t.Errorf("%s, %s: %d", path, kind, a.status)
			}
			if body.read > most {
				t.Errorf("%s, %s: %d bytes were read", path, kind, body.read)
			}
		}
	}
}

func TestAS42_MalformedEverywhere(t *testing.T) {
	s := start(t, options{direct: true})
	access := s.tokens("ann@example.com")["access_token"].(string)
	_, good, _ := strings.Cut(authorizePath(webID), "?")
	for name, more := range map[string]string{
		"broken escape": "&x=%zz", "half an escape": "&x=%4", "semicolon": "&a;b", "invalid UTF-8": "&x=%ff", "invalid UTF-8 in a name": "&%ff=x",
		"NUL": "&x=%00", "overlong": "&x=%c0%80", "surrogate": "&x=%ed%a0%80", "1,001 different": manyParameters(1001), "too large": "&x=" + strings.Repeat("x", 70<<10),
	} {
		for _, path := range []string{"/oauth2/authorize", "/oauth2/logout"} {
			query := s.request("GET", path, "")
			query.URL.RawQuery = good + more
			for method, req := range map[string]*http.Request{"GET": query, "POST": s.request("POST", path, good+more)} {
				a := s.send(req)
				if a.status != http.StatusBadRequest && (a.status != http.StatusRequestEntityTooLarge || name != "too large") {
					t.Errorf("%s %s, %s: %d", method, path, name, a.status)
				}
				a.isPage(t, a.status)
			}
		}
		a := s.send(s.request("POST", "/oauth2/userinfo", "access_token="+access+more))
		if a.status != http.StatusBadRequest && a.status != http.StatusRequestEntityTooLarge || a.json(t)["error"] != "invalid_request" {
			t.Errorf("userinfo, %s: %d %s", name, a.status, a.body)
		}
	}
}

// A hundred parameters are more than any request needs.
func TestAS42_NumberOfParameters(t *testing.T) {
	s := start(t, options{})
	for _, path := range machinePosts {
		s.send(s.request("POST", path, "client_id=nobody"+manyParameters(99))).is(t, http.StatusUnauthorized, "invalid_client")
		for _, n := range []int{100, 1000} {
			s.send(s.request("POST", path, "client_id=nobody"+manyParameters(n))).is(t, http.StatusBadRequest, "invalid_request")
			s.send(s.request("POST", path, "client_id=nobody"+strings.Repeat("&", n))).is(t, http.StatusBadRequest, "invalid_request")
		}
	}
}

func TestAS44_OneMethodEverywhere(t *testing.T) {
	s := start(t, options{config: everywhere})
	for path, form := range complete {
		for name, a := range map[string]answer{
			"Basic and a secret in the body":        s.postAs(secretID, backendSecret, path, append(form, "client_secret", backendSecret)...),
			"Basic and a wrong secret in the body":  s.postAs(secretID, backendSecret, path, append(form, "client_secret", "wrong")...),
			"a wrong Basic and a secret":            s.postAs(secretID, "wrong", path, append(form, "client_secret", backendSecret)...),
			"Basic of one, client_id of another":    s.postAs(secretID, backendSecret, path, append(form, "client_id", nativeID)...),
			"Basic of one, client_id of nobody":     s.postAs(secretID, backendSecret, path, append(form, "client_id", "nobody")...),
			"an assertion and Basic":                s.postAs(secretID, backendSecret, path, append(form, "client_assertion", "x", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")...),
			"an assertion's type and Basic":         s.postAs(secretID, backendSecret, path, append(form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")...),
			"an assertion and a secret in the body": s.post(path, append(form, "client_id", secretID, "client_secret", backendSecret, "client_assertion", "x")...),
		} {
			if a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized {
				t.Errorf("%s, %s: %d %s", path, name, a.status, a.body)
			}
		}
	}
}

func TestAS45_ConfidentialEverywhere(t *testing.T) {
	const another = "another-secret-of-at-least-32-characters"
	s := start(t, options{config: func(c *config.Config) {
		everywhere(c)
		other := c.Clients[2]
		other.ID, other.Secrets = "other", []config.Secret{another}
		c.Clients = append(c.Clients, other)
	}})
	for path, form := range complete {
		for name, a := range map[string]answer{
			"no secret":               s.post(path, append(form, "client_id", secretID)...),
			"an empty secret":         s.post(path, append(form, "client_id", secretID, "client_secret", "")...),
			"an empty secret, Basic":  s.postAs(secretID, "", path, form...),
			"another client's secret": s.postAs(secretID, another, path, form...),
			"its name for its secret": s.postAs(secretID, secretID, path, form...),
		} {
			if a.status != http.StatusUnauthorized || a.json(t)["error"] != "invalid_client" {
				t.Errorf("%s, %s: %d %s", path, name, a.status, a.body)
			}
		}
	}
	if n := len(s.inbox.Messages()); n != 0 {
		t.Errorf("%d mails", n)
	}
}

// A plus is a space where it is not encoded.
func TestAS46_PlusInASecret(t *testing.T) {
	const secret = "a+secret+of+at+least+thirty-two+characters"
	s := start(t, options{config: func(c *config.Config) { c.Clients[2].Secrets = []config.Secret{secret} }})
	basic := func(password string) answer {
		req := s.request("POST", "/oauth2/token", "grant_type=client_credentials")
		req.SetBasicAuth(secretID, password)
		return s.send(req)
	}
	basic(secret).is(t, http.StatusUnauthorized, "invalid_client")
	if a := basic(strings.ReplaceAll(secret, "+", "%2B")); a.status != http.StatusOK {
		t.Errorf("encoded: %d %s", a.status, a.body)
	}
}
