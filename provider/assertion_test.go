package provider_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// signerKeys are a client's keys for each algorithm.
type signerKeys struct{ es, rs, ps, ed clientKey }

func newSignerKeys(t testing.TB) signerKeys {
	t.Helper()
	k := signerKeys{es: newClientKey(t, "es", "ES256"), rs: newClientKey(t, "rsa", "RS256"), ed: signerKey()}
	k.ps = clientKey{"rsa", "PS256", k.rs.private} // one key of RSA is for both
	return k
}

func (k signerKeys) all() []clientKey { return []clientKey{k.es, k.rs, k.ps, k.ed} }

// inline registers the keys with the client that signs.
func (k signerKeys) inline(t testing.TB) func(*config.Config) {
	return func(c *config.Config) { theSigner(c).JWKS = registered(t, k.es, k.rs, k.ed) }
}

func theSigner(c *config.Config) *config.Client {
	for i := range c.Clients {
		if c.Clients[i].ID == signerID {
			return &c.Clients[i]
		}
	}
	panic("no client " + signerID)
}

func TestAS49_GoodAssertions(t *testing.T) {
	keys := newSignerKeys(t)
	s := start(t, options{direct: true, config: keys.inline(t)})
	issuer, endpoint := s.provider.Issuer(), s.url("/oauth2/token")
	for _, k := range keys.all() {
		for name, change := range map[string]func(object) object{
			"aud is the issuer":         func(o object) object { return o },
			"aud is the token endpoint": func(o object) object { return o.with("aud", endpoint) },
			"aud is a list of one":      func(o object) object { return o.with("aud", []string{issuer}) },
			"aud lists the endpoint":    func(o object) object { return o.with("aud", []string{endpoint}) },
			"nothing optional":          func(o object) object { return o.without("iat") },
			"nbf":                       func(o object) object { return o.with("nbf", time.Now().Unix()) },
			"a long jti":                func(o object) object { return o.with("jti", k.alg+strings.Repeat("x", 255-len(k.alg))) },
			"ten minutes":               func(o object) object { return o.with("exp", time.Now().Add(10*time.Minute).Unix()) },
			"more than is asked for":    func(o object) object { return o.with("nonce", "x").with("x", object{"y": []int{1}}) },
		} {
			if a := s.ownToken(k.assertion(t, change(s.claims(signerID, time.Now())))); a.status != http.StatusOK {
				t.Errorf("%s, %s: %d %s", k.alg, name, a.status, a.body)
			}
		}
		for name, header := range map[string]object{
			"typ JWT": k.header().with("typ", "JWT"), "typ jwt": k.header().with("typ", "jwt"), "typ of RFC 7523bis": k.header().with("typ", "client-authentication+jwt"),
			"no kid": k.header().without("kid"), // one key of the client's fits
		} {
			if a := s.ownToken(k.sign(t, header.json(), s.claims(signerID, time.Now()).json()), "client_id", signerID); a.status != http.StatusOK {
				t.Errorf("%s, %s: %d %s", k.alg, name, a.status, a.body)
			}
		}
	}
}

// It is the client's way to authenticate wherever it has to.
func TestAS49_EveryEndpoint(t *testing.T) {
	s := start(t, options{direct: true})
	own := s.asSigner("/oauth2/token", "grant_type", "client_credentials", "scope", "notes:read").json(t)
	if a := s.asSigner("/oauth2/introspect", "token", own["access_token"].(string)); a.json(t)["active"] != true {
		t.Errorf("introspection: %d %s", a.status, a.body)
	}
	if a := s.asSigner("/oauth2/revoke", "token", own["access_token"].(string)); a.status != http.StatusOK {
		t.Errorf("revocation: %d %s", a.status, a.body)
	}
	if a := s.asSigner("/oauth2/introspect", "token", own["access_token"].(string)); a.body != inactive {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
	begun := s.asSigner("/oauth2/verification", "email", "ann@example.com", "scope", "openid offline_access").json(t)
	tokens := s.asSigner("/oauth2/token", "grant_type", config.GrantEmailCaptcha, "verification_id", begun["verification_id"].(string),
		"verification_code", s.code("ann@example.com")).json(t)
	if a := s.asSigner("/oauth2/token", "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); a.status != http.StatusOK {
		t.Errorf("refresh: %d %s", a.status, a.body)
	}
	q := s.browser().signIn(authorizePath(signerID), "ann@example.com").arrives(t, callback)
	if a := s.asSigner("/oauth2/token", "grant_type", "authorization_code", "code", q.Get("code"), "redirect_uri", callback, "code_verifier", verifier); a.status != http.StatusOK {
		t.Errorf("code exchange: %d %s", a.status, a.body)
	}
}

// badClaims are claims that no assertion may have. All else about it is good.
func badClaims(s *server, good object) map[string]object {
	issuer, endpoint := s.provider.Issuer(), s.url("/oauth2/token")
	now := time.Now()
	bad := map[string]object{
		"iss is not sub":      good.with("sub", secretID),
		"sub is not iss":      good.with("iss", secretID),
		"another client":      good.with("iss", secretID).with("sub", secretID),
		"an unknown client":   good.with("iss", "nobody").with("sub", "nobody"),
		"a public client":     good.with("iss", webID).with("sub", webID),
		"exp is a second ago": good.with("exp", now.Add(-62*time.Second).Unix()),
		"exp is +1 day":       good.with("exp", now.Add(24*time.Hour).Unix()),
		"exp is +12 minutes":  good.with("exp", now.Add(12*time.Minute).Unix()),
		"exp is far":          good.with("exp", 1<<62),
		"exp has a fraction":  good.with("exp", float64(now.Unix())+60.5),
		"nbf is ahead":        good.with("nbf", now.Add(2*time.Minute).Unix()),
		"iat is ahead":        good.with("iat", now.Add(2*time.Minute).Unix()),
		"jti is too long":     good.with("jti", strings.Repeat("x", 256)),
	}
	for i, aud := range []any{
		"https://other.example", issuer + "/", issuer + "x", issuer[:len(issuer)-1], strings.ToUpper(issuer), endpoint + "/", endpoint + "?a=b", endpoint + "#",
		s.url("/oauth2/introspect"), "http:", "*", signerID, []string{issuer, "https://other.example"}, []string{issuer, endpoint}, []string{issuer, issuer},
		[]string{"https://other.example"}, []any{[]string{issuer}}, []any{nil}, []string{}, object{"a": issuer},
	} {
		bad[fmt.Sprint("aud ", i, ": ", aud)] = good.with("aud", aud)
	}
	for _, name := range []string{"iss", "sub", "aud", "exp", "jti"} {
		bad["no "+name] = good.without(name)
		for _, value := range []any{nil, "", true, -1, 0, []any{}, object{}, []int{1}} {
			bad[fmt.Sprintf("%s is %#v", name, value)] = good.with(name, value)
		}
	}
	for _, name := range []string{"iat", "nbf"} {
		for _, value := range []any{nil, "", "1", true, -1, []any{}} {
			bad[fmt.Sprintf("%s is %#v", name, value)] = good.with(name, value)
		}
	}
	return bad
}

// badTokens are assertions around good claims that were not signed as they have to be.
func badTokens(t *testing.T, keys signerKeys, good object) map[string]string {
	claims := good.json()
	forger := newClientKey(t, "es", "ES256")
	jwk := publishedKeys(t, forger)
	var embedded any = object{"kty": "EC", "crv": "P-256", "x": strings.Split(string(jwk), `"x":"`)[1][:43], "y": strings.Split(string(jwk), `"y":"`)[1][:43]}
	es, header := keys.es.assertion(t, good), keys.es.header()
	signed, signature := es[:strings.LastIndex(es, ".")], es[strings.LastIndex(es, ".")+1:]
	bad := map[string]string{
		"no signature":            signed + ".",
		"signature of another":    forger.assertion(t, good),
		"kid is unknown":          keys.es.sign(t, header.with("kid", "other").json(), claims),
		"kid is another key's":    keys.es.sign(t, header.with("kid", "ed").json(), claims),
		"kid is a path":           keys.es.sign(t, header.with("kid", "../es").json(), claims),
		"kid is empty":            keys.es.sign(t, header.with("kid", "").json(), claims),
		"kid is a number":         keys.es.sign(t, header.with("kid", 1).json(), claims),
		"RS256 for a key of EC":   keys.es.sign(t, header.with("alg", "RS256").json(), claims),
		"RS256 by a key of RSA":   keys.rs.sign(t, header.with("alg", "RS256").json(), claims), // under the kid of the EC key
		"ES256 for a key of RSA":  keys.es.sign(t, header.with("kid", "rsa").json(), claims),
		"PS256 signed as RS256":   keys.rs.sign(t, keys.ps.header().json(), claims),
		"RS256 signed as PS256":   keys.ps.sign(t, keys.rs.header().json(), claims),
		"EdDSA for a key of EC":   keys.ed.sign(t, keys.ed.header().with("kid", "es").json(), claims),
		"another curve":           newClientKey(t, "es", "ES384").sign(t, header.json(), claims),
		"another curve, and says": newClientKey(t, "es", "ES384").sign(t, header.with("alg", "ES384").json(), claims),
		"RS512":                   keys.rs.sign(t, keys.rs.header().with("alg", "RS512").json(), claims),
		"no alg":                  keys.es.sign(t, header.without("alg").json(), claims),
		"alg is a list":           keys.es.sign(t, header.with("alg", []string{"ES256"}).json(), claims),
		"its own key":             forger.sign(t, object{"alg": "ES256", "jwk": embedded}.json(), claims),
		"its own key and kid":     forger.sign(t, header.with("jwk", embedded).json(), claims),
		"crit":                    keys.es.sign(t, header.with("crit", []string{"exp"}).json(), claims),
		"b64":                     keys.es.sign(t, header.with("b64", true).json(), claims),
		"header member twice":     keys.es.sign(t, `{"alg":"ES256","kid":"es","alg":"ES256"}`, claims),
		"claim twice":             keys.es.sign(t, header.json(), claims[:len(claims)-1]+`,"aud":`+object{"a": good["aud"]}.json()[5:]),
		"claim twice inside":      keys.es.sign(t, header.json(), claims[:len(claims)-1]+`,"x":{"y":1,"y":2}}`),
		"other spelling":          keys.es.sign(t, header.json(), strings.Replace(claims, `"jti"`, `"Jti"`, 1)),
		"claims in a list":        keys.es.sign(t, header.json(), "["+claims+"]"),
		"claims and more":         keys.es.sign(t, header.json(), claims+claims),
		"not UTF-8":               keys.es.sign(t, header.json(), claims[:len(claims)-1]+",\"x\":\"\xff\"}"),
		"too long":                keys.es.assertion(t, good.with("x", strings.Repeat("x", 8<<10))),
		"a line break":            es + "\n",
		"padding":                 es + "=",
		"four parts":              es + ".x",
		"two parts":               signed,
		"five parts":              "a.b.c.d.e",
		"no parts":                "x",
		"JSON":                    `{"payload":"` + encode(claims) + `","signatures":[{"protected":"` + encode(header.json()) + `","signature":"` + signature + `"}]}`,
		"signature as DER":        signed + "." + encode("\x30\x44\x02\x20"+strings.Repeat("a", 32)+"\x02\x20"+strings.Repeat("b", 32)),
		"zero signature":          signed + "." + encode(strings.Repeat("\x00", 64)),
	}
	for _, typ := range []any{"at+jwt", "dpop+jwt", "oauth-authz-req+jwt", "logout+jwt", "", 1, nil} {
		bad[fmt.Sprint("typ ", typ)] = keys.es.sign(t, header.with("typ", typ).json(), claims)
	}
	for _, alg := range []string{"none", "None", "NONE", ""} {
		bad["alg "+alg] = encode(header.with("alg", alg).json()) + "." + encode(claims) + "."
		bad["alg "+alg+" and a signature"] = keys.es.sign(t, header.with("alg", alg).json(), claims)
	}
	maps.Copy(bad, keyedWithThePublicKey(t, keys, claims))
	return bad
}

// keyedWithThePublicKey signs claims by HMAC with each thing that a public key may be
// taken for.
func keyedWithThePublicKey(t *testing.T, keys signerKeys, claims string) map[string]string {
	bad := map[string]string{}
	for _, k := range keys.all() {
		der, err := x509.MarshalPKIXPublicKey(k.private.Public())
		if err != nil {
			t.Fatal(err)
		}
		secrets := map[string][]byte{
			"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "JWKS": publishedKeys(t, k), "nothing": {},
		}
		switch public := k.private.Public().(type) {
		case ed25519.PublicKey:
			secrets["bytes"] = public
		case *rsa.PublicKey:
			secrets["modulus"] = public.N.Bytes()
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			secrets["point"] = point
		}
		for name, secret := range secrets {
			for _, alg := range []string{"HS256", k.alg} {
				bad[fmt.Sprintf("HMAC with the %s of the %s key, called %s", name, k.alg, alg)] = hmacSigned(k.header().with("alg", alg).json(), claims, secret)
			}
		}
	}
	return bad
}

// TestAS49_BadAssertions presents everything that is not an assertion of the client.
// Each gets the same answer, costs no call of the store, and leaves its jti unused.
func TestAS49_BadAssertions(t *testing.T) {
	keys := newSignerKeys(t)
	s, count := counted(t, options{config: keys.inline(t)})
	good := s.claims(signerID, time.Now())
	bad := badTokens(t, keys, good)
	for name, claims := range badClaims(s, good) {
		bad[name] = keys.es.assertion(t, claims)
	}
	want := s.ownToken("x")
	want.is(t, http.StatusUnauthorized, "invalid_client")
	count.Reset()
	refused := func(name string, a answer) {
		t.Helper()
		if a.status != http.StatusUnauthorized || a.body != want.body || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic realm=") {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
	}
	for name, assertion := range bad {
		for _, path := range machinePosts {
			refused(name+" at "+path, s.assert(path, assertion, "grant_type", "client_credentials", "token", "x", "email", "ann@example.com"))
		}
	}
	grant := []string{"grant_type", "client_credentials"}
	for _, kind := range []string{"", "x", assertionType + " ", strings.ToUpper(assertionType), "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "urn:ietf:params:oauth:grant-type:jwt-bearer"} {
		refused("type "+kind, s.post("/oauth2/token", append(grant, "client_assertion_type", kind, "client_assertion", keys.es.assertion(t, good))...))
	}
	refused("a type alone", s.post("/oauth2/token", append(grant, "client_assertion_type", assertionType)...))
	refused("another client_id", s.ownToken(keys.es.assertion(t, good), "client_id", secretID))
	refused("another client_id, by case", s.ownToken(keys.es.assertion(t, good), "client_id", strings.ToUpper(signerID)))
	if n := count.Calls(); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	t.Logf("%d assertions at %d endpoints", len(bad), len(machinePosts))

	if a := s.ownToken(keys.es.assertion(t, good)); a.status != http.StatusOK {
		t.Errorf("the good one of the same jti: %d %s", a.status, a.body)
	}
	if n := count.Calls(); n != 1 {
		t.Errorf("the good one asked the store %d times, want 1", n)
	}
	refused("the same, signed again", s.ownToken(keys.es.assertion(t, good)))
	refused("the same, by another key", s.ownToken(keys.ed.assertion(t, good)))
	refused("the same, at another endpoint", s.assert("/oauth2/introspect", keys.es.assertion(t, good), "token", "x"))
	refused("the same, later", s.ownToken(keys.es.assertion(t, good.with("exp", time.Now().Add(5*time.Minute).Unix()))))
}

// Times are judged by the provider's clock, with a minute for one that differs.
func TestAS49_Leeway(t *testing.T) {
	clk := newClock()
	s := start(t, options{direct: true, now: clk.now})
	at := clk.now()
	for name, c := range map[string]struct {
		claim string
		from  time.Duration // the claim's time, after now
		good  bool
	}{
		"expired":              {"exp", -60 * time.Second, false},
		"just not expired":     {"exp", -59 * time.Second, true},
		"far":                  {"exp", 11*time.Minute + time.Second, false},
		"just not far":         {"exp", 11 * time.Minute, true},
		"not yet":              {"nbf", 61 * time.Second, false},
		"just":                 {"nbf", 60 * time.Second, true},
		"from the future":      {"iat", 61 * time.Second, false},
		"from a clock ahead":   {"iat", 60 * time.Second, true},
		"made a long time ago": {"iat", -24 * time.Hour, true}, // exp bounds it
	} {
		a := s.ownToken(signerKey().assertion(t, s.claims(signerID, at).with(c.claim, at.Add(c.from).Unix())))
		if c.good != (a.status == http.StatusOK) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	// The clock of the machine does not matter.
	clk.advance(-100 * 24 * time.Hour)
	if a := s.ownToken(signerKey().assertion(t, s.claims(signerID, clk.now()))); a.status != http.StatusOK {
		t.Errorf("by another clock: %d %s", a.status, a.body)
	}
}

// Two clients may draw the same jti.
func TestAS49_JTIBelongsToItsClient(t *testing.T) {
	other := newClientKey(t, "ed", "EdDSA")
	s := start(t, options{direct: true, config: func(c *config.Config) {
		twin := *theSigner(c)
		twin.ID, twin.JWKS = "twin", registered(t, other)
		c.Clients = append(c.Clients, twin)
	}})
	claims := s.claims(signerID, time.Now())
	theirs := claims.with("iss", "twin").with("sub", "twin")
	for name, assertion := range map[string]string{"one": signerKey().assertion(t, claims), "the other": other.assertion(t, theirs)} {
		if a := s.ownToken(assertion); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		s.ownToken(assertion).is(t, http.StatusUnauthorized, "invalid_client")
	}
	// A client's key is not another's, whatever its kid.
	s.ownToken(other.assertion(t, s.claims(signerID, time.Now()))).is(t, http.StatusUnauthorized, "invalid_client")
}

// TestAS49_JTIRace presents one assertion many times at once.
func TestAS49_JTIRace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{store: wrap})
			for range rounds {
				assertion := signerKey().assertion(t, s.claims(signerID, time.Now()))
				won := 0
				for _, a := range race(func() answer { return s.ownToken(assertion) }) {
					if a.status == http.StatusOK {
						won++
						continue
					}
					a.is(t, http.StatusUnauthorized, "invalid_client")
				}
				if won != 1 {
					t.Fatalf("%d of %d got a token, want exactly 1", won, racers)
				}
			}
		})
	}
}

// late lets time pass between the look at the clock and the write that spends.
type late struct {
	storage.Store
	clk *clock
	by  *atomic.Int64
}

func (l late) Put(ctx context.Context, r storage.Record) error {
	if r.Key.Kind == storage.Replay {
		l.clk.advance(time.Duration(l.by.Load()))
	}
	return l.Store.Put(ctx, r)
}

// A replay that is judged just before the assertion's end, and gets to the store just
// after it, still finds it spent.
func TestAS49_ReplayAtTheLastMoment(t *testing.T) {
	clk, by := newClock(), new(atomic.Int64)
	s := start(t, options{direct: true, now: clk.now, store: func(db storage.Store) storage.Store { return late{db, clk, by} }})
	assertion := signerKey().assertion(t, s.claims(signerID, clk.now()))
	if a := s.ownToken(assertion); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	clk.advance(2*time.Minute - time.Millisecond) // its minute, and the leeway
	by.Store(int64(10 * time.Second))
	s.ownToken(assertion).is(t, http.StatusUnauthorized, "invalid_client")
}

// A machine that was suspended in between may get there when the first use has been
// forgotten: whatever the store says then, the assertion is good for nothing.
func TestAS49_ReplayAfterASuspension(t *testing.T) {
	clk, by := newClock(), new(atomic.Int64)
	s := start(t, options{direct: true, now: clk.now, store: func(db storage.Store) storage.Store { return late{db, clk, by} }})
	assertion := signerKey().assertion(t, s.claims(signerID, clk.now()))
	if a := s.ownToken(assertion); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	by.Store(int64(20 * time.Minute))
	s.ownToken(assertion).is(t, http.StatusUnauthorized, "invalid_client")
}

func TestAS49_Outage(t *testing.T) {
	var down atomic.Bool
	s := start(t, options{direct: true, store: outages(&down)})
	assertion := signerKey().assertion(t, s.claims(signerID, time.Now()))
	down.Store(true)
	s.ownToken(assertion).isOutage(t, "a good assertion")
	s.ownToken("x").is(t, http.StatusUnauthorized, "invalid_client")
	down.Store(false)
	if a := s.ownToken(assertion); a.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// A Put whose answer is lost has spent the assertion for its sender, and for nobody else.
func TestAS49_LostReply(t *testing.T) {
	var lose atomic.Bool
	s := start(t, options{direct: true, store: func(db storage.Store) storage.Store {
		return requestsOnly{db, storetest.Faulty(db, func(op storetest.Op) error {
			if lose.Load() && op.Name == "Put" {
				return lateErr
			}
			return nil
		})}
	}})
	assertion := signerKey().assertion(t, s.claims(signerID, time.Now()))
	lose.Store(true)
	if a := s.ownToken(assertion); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.ownToken(assertion).is(t, http.StatusUnauthorized, "invalid_client")
}

// Nothing that a header points to is looked at.
func TestAS28_AssertionHeadersLeadNowhere(t *testing.T) {
	var hits atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer target.Close()
	allowed, err := url.Parse(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, options{direct: true, config: func(c *config.Config) { c.Outbound.InsecureAllow = []string{allowed.Host} }})
	k, forger := signerKey(), newClientKey(t, "ed", "EdDSA")
	for _, member := range []string{"jku", "x5u", "iss", "jwks_uri"} {
		header := k.header().with(member, target.URL)
		s.ownToken(forger.sign(t, header.json(), s.claims(signerID, time.Now()).json())).is(t, http.StatusUnauthorized, "invalid_client")
		s.ownToken(forger.sign(t, header.without("kid").json(), s.claims(signerID, time.Now()).json())).is(t, http.StatusUnauthorized, "invalid_client")
		if a := s.ownToken(k.sign(t, header.json(), s.claims(signerID, time.Now()).json())); a.status != http.StatusOK {
			t.Errorf("%s beside a good signature: %d %s", member, a.status, a.body)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests to an address from a header", n)
	}
}

// A client has one method, and a request uses one.
func TestAS44_AssertionsAreOneMethod(t *testing.T) {
	s := start(t, options{direct: true})
	fresh := func() string { return signerKey().assertion(t, s.claims(signerID, time.Now())) }
	grant := []string{"grant_type", "client_credentials", "scope", "notes:read"}
	asserted := func(more ...string) []string {
		return append(append([]string{"client_assertion_type", assertionType, "client_assertion", fresh()}, grant...), more...)
	}
	for name, a := range map[string]answer{
		"and Basic":              s.postAs(secretID, backendSecret, "/oauth2/token", asserted()...),
		"and Basic of its own":   s.postAs(signerID, backendSecret, "/oauth2/token", asserted()...),
		"and a secret":           s.post("/oauth2/token", asserted("client_id", signerID, "client_secret", backendSecret)...),
		"and Bearer":             s.send(s.request("POST", "/oauth2/token", values(asserted()...).Encode(), "Authorization", "Bearer x")),
		"type alone, and Basic":  s.postAs(secretID, backendSecret, "/oauth2/token", append(grant, "client_assertion_type", assertionType)...),
		"type alone, and secret": s.post("/oauth2/token", append(grant, "client_id", secretID, "client_secret", backendSecret, "client_assertion_type", assertionType)...),
	} {
		if a.status != http.StatusBadRequest || a.json(t)["error"] != "invalid_request" {
			t.Errorf("an assertion %s: %d %s", name, a.status, a.body)
		}
	}
	for name, a := range map[string]answer{
		"without anything":       s.post("/oauth2/token", append(grant, "client_id", signerID)...),
		"with an empty secret":   s.postAs(signerID, "", "/oauth2/token", grant...),
		"with a secret":          s.postAs(signerID, backendSecret, "/oauth2/token", grant...),
		"with a secret, posted":  s.post("/oauth2/token", append(grant, "client_id", signerID, "client_secret", backendSecret)...),
		"with zeros":             s.postAs(signerID, string(make([]byte, 32)), "/oauth2/token", grant...),
		"with a posted key":      s.post("/oauth2/token", append(grant, "client_id", signerID, "client_secret", signerJWK().X)...),
		"with an assertion, key": s.postAs(signerID, base64.RawURLEncoding.EncodeToString([]byte(fresh())), "/oauth2/token", grant...),
	} {
		if a.status != http.StatusUnauthorized || a.json(t)["error"] != "invalid_client" {
			t.Errorf("a client that signs, %s: %d %s", name, a.status, a.body)
		}
	}
	for _, name := range []string{"client_assertion", "client_assertion_type"} {
		form := values(asserted()...)
		form.Add(name, form.Get(name))
		s.send(s.request("POST", "/oauth2/token", form.Encode())).is(t, http.StatusBadRequest, "invalid_request")
	}
}
