package main

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/net/html"
	"golang.org/x/oauth2"
)

// TestStandardClient signs in with a client that knows nothing of Lettergate:
// golang.org/x/oauth2 and coreos/go-oidc, from nothing but the issuer's URL.
func TestStandardClient(t *testing.T) {
	q := start(t)
	ctx := t.Context()
	issuer, err := oidc.NewProvider(ctx, q.issuer)
	if err != nil {
		t.Fatal(err)
	}
	client := oauth2.Config{
		ClientID: spaID, Endpoint: issuer.Endpoint(), RedirectURL: q.app + "/callback",
		Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "email", "notes:read"},
	}
	const state, nonce = "a state", "a nonce"
	verifier := oauth2.GenerateVerifier()
	back := q.signIn(client.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), "ann@example.com", client.RedirectURL)
	if back.Get("state") != state || back.Get("iss") != q.issuer {
		t.Fatalf("came back with %v", back)
	}

	token, err := client.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	id := verifyIDToken(t, issuer, token)
	if id.Nonce != nonce || id.Subject == "" {
		t.Errorf("nonce %q, subject %q", id.Nonce, id.Subject)
	}
	var claims struct {
		Email    string   `json:"email"`
		AMR      []string `json:"amr"`
		AuthTime int64    `json:"auth_time"`
	}
	if err := id.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if since := time.Since(time.Unix(claims.AuthTime, 0)); len(claims.AMR) != 1 || claims.AMR[0] != "otp" || since < -time.Minute || since > 5*time.Minute {
		t.Errorf("amr %q, signed in %v ago", claims.AMR, since)
	}

	info, err := issuer.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	if info.Subject != id.Subject || info.Email != "ann@example.com" || !info.EmailVerified {
		t.Errorf("userinfo: %+v", info)
	}

	// A token source refreshes what has run out.
	old := *token
	token.Expiry = time.Now().Add(-time.Second)
	fresh, err := client.TokenSource(ctx, token).Token()
	if err != nil {
		t.Fatal(err)
	}
	if fresh.AccessToken == old.AccessToken || fresh.RefreshToken == old.RefreshToken || !fresh.Valid() {
		t.Error("the refreshed tokens are the old ones")
	}
	if again := verifyIDToken(t, issuer, fresh); again.Subject != id.Subject {
		t.Errorf("refreshed for %q, was %q", again.Subject, id.Subject)
	}
	resp, err := client.Client(ctx, fresh).Get(q.app + "/api/notes")
	if got := read(t, resp, err); got.status != http.StatusOK {
		t.Errorf("API: %d %s", got.status, got.body)
	}
}

// TestStandardClientWithoutVerifier: what stole a code cannot use it.
func TestStandardClientWithoutVerifier(t *testing.T) {
	q := start(t)
	issuer, err := oidc.NewProvider(t.Context(), q.issuer)
	if err != nil {
		t.Fatal(err)
	}
	client := oauth2.Config{ClientID: spaID, Endpoint: issuer.Endpoint(), RedirectURL: q.app + "/callback", Scopes: []string{oidc.ScopeOpenID}}
	back := q.signIn(client.AuthCodeURL("a state", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), "ann@example.com", client.RedirectURL)
	if token, err := client.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
		t.Errorf("another verifier got %v", token)
	}
}

// verifyIDToken checks the signature and all that binds the ID token to the client
// and to the access token.
func verifyIDToken(t *testing.T, issuer *oidc.Provider, token *oauth2.Token) *oidc.IDToken {
	t.Helper()
	raw, _ := token.Extra("id_token").(string)
	id, err := issuer.Verifier(&oidc.Config{ClientID: spaID}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		t.Error(err)
	}
	return id
}

// signIn walks through the pages as a browser without JavaScript does, and returns
// what the redirect brought to the client.
func (q *quickstart) signIn(address, email, callback string) url.Values {
	q.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		q.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(q.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		q.t.Fatal(err)
	}
	resp, err := browser.Do(req)
	page := read(q.t, resp, err)
	page = q.submit(browser, page, "email", email)
	page = q.submit(browser, page, "code", q.code(email, 1))

	location, err := url.Parse(page.header.Get("Location"))
	if err != nil || page.status != http.StatusSeeOther || !strings.HasPrefix(location.String(), callback+"?") {
		q.t.Fatalf("got %d to %q, want 303 to %s\n%s", page.status, location, callback, page.body)
	}
	return location.Query()
}

// submit fills in a field of a page, named as its id, and sends its form.
func (q *quickstart) submit(browser *http.Client, page answer, field, value string) answer {
	q.t.Helper()
	action, form := formWith(q.t, page.body, field)
	form.Set(field, value)
	ctx, cancel := context.WithTimeout(q.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.issuer+action, strings.NewReader(form.Encode()))
	if err != nil {
		q.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", q.issuer)
	resp, err := browser.Do(req)
	return read(q.t, resp, err)
}

// formWith returns action and values of the form that contains the element with
// the id.
func formWith(t *testing.T, page, id string) (action string, values url.Values) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for form := range root.Descendants() {
		if form.Type != html.ElementNode || form.Data != "form" {
			continue
		}
		values, found := url.Values{}, false
		for input := range form.Descendants() {
			if name := attribute(input, "name"); name != "" {
				values.Set(name, attribute(input, "value"))
			}
			found = found || attribute(input, "id") == id
		}
		if found {
			return attribute(form, "action"), values
		}
	}
	t.Fatalf("no form with #%s on this page:\n%s", id, page)
	return "", nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
