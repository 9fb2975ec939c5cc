package session_test

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	issuerURL    = "https://id.example"
	clientID     = "notes"
	clientSecret = "a secret: of the client & more"
)

// An issuer is a small but strict OpenID provider: whoever comes to authorize is
// signed in as person already. Its fields are changed with mu held, or before it is
// used.
type issuer struct {
	mu      sync.Mutex
	now     func() time.Time
	keys    []jose.JSONWebKey
	private ed25519.PrivateKey

	person      string        // who is signed in
	sid         string        // the name of their session
	life        time.Duration // of access tokens
	padding     int           // bytes that make access tokens longer
	grace       time.Duration // in which a spent refresh token gets the current one; 0 is strict
	rotates     bool
	oneToken    bool // each sign-in gets the same refresh token
	down        bool
	skipPKCE    bool   // accepts any verifier, as bad issuers do
	publicOnly  bool   // knows clients by client_id alone
	postOnly    bool   // takes secrets in the form only
	tokenType   string // of access tokens, bearer by default
	withoutISS  bool
	refreshWait chan struct{} // refreshes wait until it is closed
	exchanged   func()        // runs between an exchange and its answer, without mu

	answer   func(url.Values)      // changes authorization responses
	claims   func(map[string]any)  // changes ID tokens
	sign     func([]byte) string   // signs ID tokens instead
	userInfo func() (string, bool) // answers userinfo instead, if true

	codes    map[string]*grant
	families map[string]*family // by each refresh token ever given
	made     int

	exchanges, refreshes, reuses, revoked, metadataAsked int
}

// A grant is an authorization code's.
type grant struct {
	challenge, redirect, nonce, scope string
	person, sid                       string
	spent                             bool
}

// A family is the refresh tokens of one sign-in.
type family struct {
	grant   *grant
	current string
	spent   map[string]time.Time
	dead    bool
}

func newIssuer() *issuer {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return &issuer{
		now: time.Now, private: private, person: "user-1", sid: "session-1", life: 10 * time.Minute, rotates: true,
		keys:  []jose.JSONWebKey{{Key: public, KeyID: "k1", Algorithm: "EdDSA", Use: "sig"}},
		codes: make(map[string]*grant), families: make(map[string]*family),
	}
}

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *issuer) count(what func(*issuer) int) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return what(i)
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		if wait := i.waits(r); wait != nil {
			<-wait
		}
	}
	i.mu.Lock()
	if i.exchanged != nil && r.URL.Path == "/token" && r.PostFormValue("grant_type") == "authorization_code" {
		exchanged := i.exchanged
		defer exchanged()
	}
	defer i.mu.Unlock()
	if i.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		i.metadataAsked++
		m := map[string]any{
			"issuer": issuerURL, "jwks_uri": issuerURL + "/jwks", "authorization_endpoint": issuerURL + "/authorize?tenant=1",
			"token_endpoint": issuerURL + "/token", "userinfo_endpoint": issuerURL + "/userinfo", "revocation_endpoint": issuerURL + "/revoke",
			"end_session_endpoint": issuerURL + "/logout", "authorization_response_iss_parameter_supported": !i.withoutISS,
		}
		if i.postOnly {
			m["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"}
		}
		json.NewEncoder(w).Encode(m)
	case "/jwks":
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	case "/authorize":
		i.authorize(w, r)
	case "/token":
		i.token(w, r)
	case "/userinfo":
		i.userinfo(w, r)
	case "/revoke":
		if f := i.families[r.PostFormValue("token")]; f != nil && i.client(r) {
			f.dead = true
			i.revoked++
		}
	case "/logout":
		fmt.Fprint(w, "signed out at the issuer")
	default:
		http.NotFound(w, r)
	}
}

func (i *issuer) waits(r *http.Request) chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.PostFormValue("grant_type") == "refresh_token" {
		return i.refreshWait
	}
	return nil
}

func (i *issuer) draw(kind string) string {
	i.made++
	return fmt.Sprintf("%s-%d", kind, i.made)
}

func (i *issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("tenant") != "1" || q.Get("client_id") != clientID || q.Get("redirect_uri") != appURL+"/auth/callback" || q.Get("response_type") != "code" ||
		!slices.Contains(strings.Fields(q.Get("scope")), "openid") || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
		len(q.Get("state")) < 32 || len(q.Get("nonce")) < 32 {
		http.Error(w, "not an authorization request of ours: "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	code := i.draw("code")
	i.codes[code] = &grant{
		challenge: q.Get("code_challenge"), redirect: q.Get("redirect_uri"), nonce: q.Get("nonce"), scope: q.Get("scope"), person: i.person, sid: i.sid,
	}
	answer := url.Values{"code": {code}, "state": {q.Get("state")}}
	if !i.withoutISS {
		answer.Set("iss", issuerURL)
	}
	if i.answer != nil {
		i.answer(answer)
	}
	w.Header().Set("Location", q.Get("redirect_uri")+"?"+answer.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

// client says whether the request is our client's.
func (i *issuer) client(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	form := r.PostFormValue("client_secret")
	switch {
	case i.publicOnly:
		return !basic && form == "" && r.PostFormValue("client_id") == clientID
	case i.postOnly:
		return !basic && form == clientSecret && r.PostFormValue("client_id") == clientID
	}
	return basic && form == "" && id == url.QueryEscape(clientID) && secret == url.QueryEscape(clientSecret)
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodPost || r.URL.RawQuery != "":
		refuse(w, http.StatusBadRequest, "invalid_request")
	case !i.client(r):
		refuse(w, http.StatusUnauthorized, "invalid_client")
	case r.PostFormValue("grant_type") == "authorization_code":
		i.exchange(w, r)
	case r.PostFormValue("grant_type") == "refresh_token":
		i.refresh(w, r)
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type")
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "because"})
}

func (i *issuer) exchange(w http.ResponseWriter, r *http.Request) {
	i.exchanges++
	g := i.codes[r.PostFormValue("code")]
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	proven := i.skipPKCE || g != nil && base64.RawURLEncoding.EncodeToString(sum[:]) == g.challenge
	if g == nil || g.spent || r.PostFormValue("redirect_uri") != g.redirect || !proven {
		if g != nil {
			g.spent = true
			for _, f := range i.families {
				f.dead = f.dead || f.grant == g
			}
		}
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	g.spent = true
	f := &family{grant: g, spent: make(map[string]time.Time)}
	i.give(w, f, g.nonce)
}

func (i *issuer) refresh(w http.ResponseWriter, r *http.Request) {
	i.refreshes++
	token := r.PostFormValue("refresh_token")
	f := i.families[token]
	if f == nil || f.dead {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	if at, spent := f.spent[token]; spent {
		if i.now().Sub(at) >= i.grace {
			i.reuses++
			f.dead = true // theft, or so it looks
			refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
	} else if i.rotates {
		f.spent[token] = i.now()
		f.current = ""
	}
	i.give(w, f, "")
}

// give answers with tokens of a family.
func (i *issuer) give(w http.ResponseWriter, f *family, nonce string) {
	if f.current == "" {
		f.current = i.draw("refresh")
		if i.oneToken {
			f.current = "refresh-of-all"
		}
		i.families[f.current] = f
	}
	access := i.draw("access") + "-" + f.grant.person + strings.Repeat("x", i.padding)
	answer := map[string]any{"access_token": access, "token_type": cmp.Or(i.tokenType, "bearer"), "expires_in": int(i.life / time.Second), "id_token": i.idToken(f.grant, nonce, access)}
	if slices.Contains(strings.Fields(f.grant.scope), "offline_access") {
		answer["refresh_token"] = f.current
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

func (i *issuer) idToken(g *grant, nonce, access string) string {
	sum := sha512.Sum512([]byte(access))
	claims := map[string]any{
		"iss": issuerURL, "sub": g.person, "aud": clientID, "iat": i.now().Unix(), "exp": i.now().Add(5 * time.Minute).Unix(),
		"sid": g.sid, "auth_time": i.now().Unix(), "at_hash": base64.RawURLEncoding.EncodeToString(sum[:32]),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	if i.claims != nil {
		i.claims(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	if i.sign != nil {
		return i.sign(payload)
	}
	return i.signed("JWT", payload)
}

// signed returns a token with the issuer's signature.
func (i *issuer) signed(typ string, payload []byte) string {
	return compact(i.private, map[string]any{"alg": "EdDSA", "kid": "k1", "typ": typ}, payload)
}

// compact signs any header and payload with an Ed25519 key.
func compact(key ed25519.PrivateKey, header map[string]any, payload []byte) string {
	head, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	input := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
}

// userinfo knows everybody by their access token, which says who it is.
func (i *issuer) userinfo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if i.userInfo != nil {
		if body, instead := i.userInfo(); instead {
			fmt.Fprint(w, body)
			return
		}
	}
	access, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer access-")
	_, person, ok2 := strings.Cut(access, "-")
	if !ok || !ok2 {
		http.Error(w, "no token of ours", http.StatusUnauthorized)
		return
	}
	person = strings.TrimRight(person, "x")
	json.NewEncoder(w).Encode(map[string]any{"sub": person, "email": person + "@mail.example", "email_verified": true})
}

// logoutToken is a good logout token but for the changes; a nil value leaves a
// claim out.
func (i *issuer) logoutToken(changes map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	claims := map[string]any{
		"iss": issuerURL, "aud": clientID, "sub": i.person, "sid": i.sid, "jti": i.draw("jti"), "iat": i.now().Unix(), "exp": i.now().Add(2 * time.Minute).Unix(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return i.signed("logout+jwt", payload)
}
