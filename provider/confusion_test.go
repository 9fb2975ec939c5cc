package provider_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/internal/verification"
)

// A place is where something that a person or a client holds can be shown.
type place struct {
	name  string
	right []string                // what belongs there
	takes func(thing string) bool // shows it, and reports whether it was taken
}

// things are one of everything that this provider gives out to be shown again.
type things struct {
	s       *server
	b       *browser
	a       *app
	values  map[string]string
	csrf    url.Values // of the sign-in page
	page    url.Values // of the code page
	session string     // name of the cookie
	code    map[string]string
}

// everything goes through all flows as far as each can go without spending what it
// got.
func everything(s *server) *things {
	s.t.Helper()
	x := &things{s: s, b: s.browser(), a: s.app(envID), values: map[string]string{}, code: map[string]string{}}
	x.b.signIn(authorizePath(webID), "ann@example.com").arrives(s.t, callback)
	tokens := s.exchange(x.b.nextCode()).json(s.t)
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		x.values[name] = tokens[name].(string)
	}
	// What distinguishes this one from an ID token is what it calls itself.
	x.values["access_token for its client"] = s.exchange(x.b.nextCode("resource", webID)).json(s.t)["access_token"].(string)
	x.values["authorization code"] = x.b.nextCode()
	x.values["opaque access token"] = s.post("/oauth2/token", "grant_type", "client_credentials", "client_id", "opaque", "client_secret", backendSecret).json(s.t)["access_token"].(string)
	for name, value := range x.b.cookies() {
		if strings.HasSuffix(name, "-session") {
			x.session = name
			x.values["session"] = value
		} else {
			x.values["browser"] = value
		}
	}

	for name, client := range map[string]string{"verification of the grant": nativeID, "verification of the grant for the app": envID} {
		begun := s.begin("ben@example.com", "client_id", client)
		x.values[name], x.code[name] = begun.id, begun.code
	}

	_, x.csrf = formOf(s.t, x.b.get(authorizePath(webID, "prompt", "login")).body, "email")
	x.values["form token"], x.values["sealed request"] = x.csrf.Get("csrf"), x.csrf.Get("request")
	_, x.page = formOf(s.t, x.b.submit(x.b.get(authorizePath(webID, "prompt", "login")), "email", "email", "cat@example.com").body, "code")
	x.values["verification of a page"], x.code["verification of a page"] = x.page.Get("v"), s.code("cat@example.com")

	signedUp := x.a.signedUp("dan@example.com", "dan", "password123")
	x.values["access_token of an app"], x.values["refresh_token of an app"] = x.a.token, signedUp["refresh_token"].(string)
	started := x.a.verification("eve@example.com")
	x.values["verification of an app"], x.code["verification of an app"] = started["verification_id"].(string), s.code("eve@example.com")
	x.values["verification_token"] = x.a.prove("fay@example.com")
	x.values["sudo_token"] = x.a.sudo("password123").(string)
	_, x.values["link"], _ = strings.Cut(s.link("gus@example.com"), "?v=")
	x.values["link that was followed"] = x.followed("ida@example.com")
	return x
}

// followed has a link mailed, and proves the mailbox by it. Nothing takes it any more.
func (x *things) followed(address string) string {
	s := x.s
	s.t.Helper()
	asked := x.a.verification(address, "email_redirect_to", appOrigin+"/")
	handle := linkIn(s.waitMail(address).Text)
	on := x.b.submit(x.b.get(verification.LinkPath+"?v="+handle), "confirm")
	_, fragment, _ := strings.Cut(on.header.Get("Location"), "#")
	given, err := url.ParseQuery(fragment)
	if err != nil {
		s.t.Fatal(err)
	}
	x.a.verify(asked, given.Get("verification_code"))
	return handle
}

// codeFor is the right code if the thing is a verification that has one.
func (x *things) codeFor(thing string) string {
	for name, value := range x.values {
		if code := x.code[name]; value == thing && code != "" {
			return code
		}
	}
	return "123456"
}

// asks asks the authorization endpoint for a code without showing a page.
func (x *things) asks(b *browser, pairs ...string) bool {
	a := b.send(x.s.request("GET", authorizePath(webID, append(pairs, "prompt", "none")...), ""))
	return strings.HasPrefix(a.header.Get("Location"), callback+"?") && a.arrives(x.s.t, callback).Get("code") != ""
}

func (x *things) machinePlaces() []place {
	s, ok := x.s, func(a answer) bool { return a.status == http.StatusOK }
	verify, err := s.provider.Verifier(webID, api, s.provider.Issuer())
	if err != nil {
		s.t.Fatal(err)
	}
	return []place{
		{"userinfo", []string{"access_token", "access_token of an app", "access_token for its client"}, func(v string) bool { return ok(s.userinfo(v)) }},
		{"the middleware", []string{"access_token", "access_token of an app", "access_token for its client"}, func(v string) bool { _, err := verify.Verify(s.t.Context(), v); return err == nil }},
		{"introspection", []string{"access_token"}, func(v string) bool { return s.introspect(v).body != inactive }},
		{"introspection of its own", []string{"opaque access token"}, func(v string) bool {
			return s.postAs("opaque2", backendSecret, "/oauth2/introspect", "token", v).body != inactive
		}},
		{"code", []string{"authorization code"}, func(v string) bool { return ok(s.exchange(v)) }},
		{"refresh_token", []string{"refresh_token"}, func(v string) bool { return ok(s.refresh(v)) }},
		{"verification_id", []string{"verification of the grant"}, func(v string) bool { return ok(s.redeem(started{v, x.codeFor(v)})) }},
		{"verification_id of the app", []string{"verification of the grant for the app"}, func(v string) bool {
			return ok(s.redeem(started{v, x.codeFor(v)}, "client_id", envID))
		}},
	}
}

func (x *things) pagePlaces() []place {
	s, b := x.s, x.b
	shows := func(path string) func(string) bool {
		return func(v string) bool {
			a := b.send(s.request("GET", path+url.QueryEscape(v), ""))
			return a.status < 400
		}
	}
	sends := func(action string, values url.Values, name string) func(string) bool {
		return func(v string) bool {
			f := form{action: action, values: values}
			sent := f.with(name, v)
			if name == "v" {
				sent.Set("code", x.codeFor(v))
			}
			return f.send(b, sent).status < 400
		}
	}
	signIn := x.csrf
	signIn.Set("email", "hal@example.com")
	return []place{
		{"id_token_hint", []string{"id_token"}, func(v string) bool { return x.asks(b, "id_token_hint", v) }},
		{"session cookie", []string{"session"}, func(v string) bool {
			cookies := b.cookies()
			cookies[x.session] = v
			return x.asks(&browser{s: s, client: &http.Client{Transport: s.transport, Jar: jarOf(s.t, s, cookies)}})
		}},
		{"form token", []string{"form token"}, sends("/login/email", signIn, "csrf")},
		{"request of a form", []string{"sealed request"}, sends("/login/email", signIn, "request")},
		{"page of a code", []string{"verification of a page"}, shows("/login/code?v=")},
		{"page of another address", []string{"verification of a page"}, shows("/login/email?v=")},
		{"resend", []string{"verification of a page"}, sends("/login/code/resend", x.page, "v")},
		{"code page, sent", []string{"verification of a page"}, sends("/login/code", x.page, "v")},
		{"resumed request", []string{"verification of a page"}, shows("/oauth2/authorize?resume=")},
		{"link", []string{"link"}, shows("/login/link?v=")},
		{"link, sent", []string{"link"}, sends("/login/link", x.csrf, "v")},
	}
}

func (x *things) appPlaces() []place {
	a := x.a
	ok := func(r req) bool { return a.do(r).status == http.StatusOK }
	return []place{
		{"an app's Bearer", []string{"access_token of an app"}, func(v string) bool {
			other := *a
			other.token = v
			return other.do(req{method: "GET", path: "user/me", bearer: true}).status == http.StatusOK
		}},
		{"an app's refresh_token", []string{"refresh_token of an app"}, func(v string) bool {
			return ok(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": v}})
		}},
		{"an app's verification_id", []string{"verification of an app"}, func(v string) bool {
			return ok(req{path: "verification/verify", body: fields{"verification_id": v, "verification_code": x.codeFor(v)}})
		}},
		{"sudo_token", []string{"sudo_token"}, func(v string) bool {
			return ok(req{method: "PATCH", path: "user/password", body: fields{"sudo_token": v, "new_password": "password456"}, bearer: true})
		}},
		{"verification_token of a confirmation", nil, func(v string) bool {
			return ok(req{path: "user/sudo", body: fields{"verification_token": v}, bearer: true})
		}},
		{"verification_token of a reset", nil, func(v string) bool {
			return ok(req{path: "reset", body: fields{"new_password": "password456", "verification_token": v}})
		}},
		{"verification_token", []string{"verification_token"}, func(v string) bool {
			return ok(req{path: "signup", body: fields{"verification_token": v}})
		}},
	}
}

// TestAS62_EveryConfusion shows everything everywhere: it is taken in its own place
// only, and nowhere else is it spent or ended by being shown.
func TestAS62_EveryConfusion(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Limits = config.Limits{TriesPerVerification: 10, TriesPerAccount: 100, TriesPerSource: 10_000}
		c.Clients[0].Audiences = []string{api, secretID, webID}
		c.Clients[5].GrantTypes = []string{config.GrantEmailCaptcha, config.GrantRefreshToken}
		opaque := c.Clients[2]
		opaque.ID, opaque.TokenEndpointAuthMethod, opaque.AccessTokenFormat, opaque.Audiences = "opaque", config.AuthMethodPost, config.AccessTokenOpaque, []string{"opaque2"}
		reader := c.Clients[2]
		reader.ID = "opaque2"
		c.Clients = append(c.Clients, opaque, reader)
	}})
	x := everything(s)
	places := slices.Concat(x.machinePlaces(), x.pagePlaces(), x.appPlaces(), []place{
		{"id_token_hint of a sign-out", []string{"id_token"}, func(v string) bool { // the last: it signs out
			return x.b.send(s.request("GET", logoutPath("id_token_hint", v), "")).status < 400
		}},
	})
	for name, value := range x.values {
		for _, p := range places {
			if !slices.Contains(p.right, name) && p.takes(value) {
				t.Errorf("%s was taken as %s", name, p.name)
			}
		}
		if !slices.Contains([]string{"access_token", "refresh_token", "access_token for its client"}, name) {
			s.revoke(value)
		}
		if !strings.HasSuffix(name, "of an app") {
			x.a.do(req{path: "revoke", body: fields{"token": value}})
		}
	}
	for _, p := range places {
		for _, name := range p.right {
			if !p.takes(x.values[name]) {
				t.Errorf("%s is not taken as %s any more", name, p.name)
			}
		}
	}
}

// link has an app mail a link to the address, and returns its path.
func (s *server) link(address string) string {
	s.t.Helper()
	s.app(envID).verification(address, "email_redirect_to", appOrigin+"/")
	handle := linkIn(s.waitMail(address).Text)
	if handle == "" {
		s.t.Fatalf("no link in the mail to %s", address)
	}
	return verification.LinkPath + "?v=" + handle
}

// linkIn is what the link in a mail ends with, "" without one.
func linkIn(mail string) string {
	_, handle, _ := strings.Cut(mail, verification.LinkPath+"?v=")
	handle, _, _ = strings.Cut(handle, "\n")
	return strings.TrimSpace(handle)
}
