package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

const (
	api      = "https://api.example"
	callback = "https://app.example/callback"

	verifier      = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	codeChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // of the verifier: RFC 7636 appendix B

	racers = 30
)

// TestReplicas proves that several replicas on one store are one issuer, whichever of
// them a request meets: FT-31 and FT-34, and each promise that is about two requests.
func TestReplicas(t *testing.T) {
	postgres, redis, cluster := servertest.Postgres(t), servertest.Redis(t), servertest.RedisCluster(t)
	secret := func(format string, args ...any) config.Secret { return config.Secret(fmt.Sprintf(format, args...)) }
	var late []verification // whose mail a killed replica was to send
	for _, engine := range []struct {
		name  string
		await bool                  // until that mail has come, half a minute later
		empty func() config.Storage // where nothing was stored before
	}{
		{"cluster", true, func() config.Storage {
			return config.Storage{URL: secret("redis+cluster://%s?prefix=%s:", strings.Join(cluster.Addrs, ","), rand.Text())}
		}},
		{"postgres", true, func() config.Storage { return config.Storage{URL: config.Secret(postgres.New(t))} }},
		{"redis", awaitAll, func() config.Storage {
			return config.Storage{URL: secret("redis://%s?prefix=%s:", redis.Addr, rand.Text())}
		}},
		{"split", awaitAll, func() config.Storage {
			return config.Storage{URL: secret("redis://%s?prefix=%s:", redis.Addr, rand.Text()), AccountsURL: config.Secret(postgres.New(t))}
		}},
	} {
		for i := range starts - 1 { // the fleet below is one more
			t.Run(fmt.Sprintf("%s/start%d", engine.name, i), func(t *testing.T) { startFleet(t, engine.empty()).oneKeySet(t) })
		}
		f := startFleet(t, engine.empty())
		t.Run(engine.name+"/keys", f.oneKeySet)
		t.Run(engine.name+"/tokens", f.tokensVerifyEverywhere)
		t.Run(engine.name+"/signIn", f.everyStepElsewhere)
		t.Run(engine.name+"/refresh", f.oneSuccessor)
		t.Run(engine.name+"/raceOfCodes", f.oneExchange)
		t.Run(engine.name+"/raceOfMailedCodes", f.oneRedeemer)
		t.Run(engine.name+"/raceOfSignUps", f.oneAccount)
		t.Run(engine.name+"/signOut", f.signedOutEverywhere)
		t.Run(engine.name+"/kill", func(t *testing.T) {
			if left := f.survivesKill(t); engine.await {
				late = append(late, left...)
			}
		})
	}
	for _, v := range late {
		if r := v.redeem(v.f.code(v.address, time.Minute)); r.status != http.StatusOK {
			t.Errorf("a mail that a killed replica was to send: %d %s", r.status, r.body)
		}
	}
}

// oneKeySet asks each replica itself.
func (f *fleet) oneKeySet(t *testing.T) {
	first := f.jwks(t, 0)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(first, &set); err != nil || len(set.Keys) < 2 {
		t.Fatalf("%d keys, %v: %s", len(set.Keys), err, first)
	}
	for i := range replicas {
		if set := f.jwks(t, i); !bytes.Equal(set, first) {
			t.Errorf("replica %d has the keys\n%s\nand replica 0\n%s", i, set, first)
		}
	}
}

func (f *fleet) jwks(t *testing.T, at int) []byte {
	t.Helper()
	resp, err := http.Get("http://" + f.replicas[at].address + "/oauth2/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("keys of replica %d: %s %v %s", at, resp.Status, err, body)
	}
	return body
}

// tokensVerifyEverywhere has each replica issue tokens, and each check them.
func (f *fleet) tokensVerifyEverywhere(t *testing.T) {
	for i := range replicas {
		tokens := f.signUp(i, fmt.Sprintf("tokens%d@example.com", i))
		tokens.is(t, "sign-up", http.StatusOK, "")
		for j := range replicas {
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(f.jwks(t, j), &set); err != nil {
				t.Fatal(err)
			}
			keys, err := oauth.NewStaticKeys(set)
			if err != nil {
				t.Fatal(err)
			}
			verify, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: f.issuer, Audiences: []string{api}}, keys)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify.Verify(t.Context(), tokens.value("access_token")); err != nil {
				t.Errorf("an access token of replica %d by the keys of %d: %v", i, j, err)
			}
			if err := verifies(tokens.value("id_token"), set); err != nil {
				t.Errorf("an ID token of replica %d by the keys of %d: %v", i, j, err)
			}
			f.userinfo(j, tokens.value("access_token")).is(t, "userinfo", http.StatusOK, "")
		}
	}
}

// verifies checks the signature of an ID token.
func verifies(token string, set jose.JSONWebKeySet) error {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return err
	}
	keys := set.Key(signed.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		return fmt.Errorf("%d keys of its name", len(keys))
	}
	_, err = signed.Verify(keys[0].Key)
	return err
}

// A verification is one that was started.
type verification struct {
	f           *fleet
	address, id string
}

func (f *fleet) begin(at int, address string) (verification, reply) {
	r := f.post(at, "/oauth2/verification", "client_id", "native", "email", address, "scope", "openid email offline_access")
	return verification{f, address, r.value("verification_id")}, r
}

func (v verification) redeem(code string) reply {
	return v.f.post(anywhere, "/oauth2/token", "grant_type", config.GrantEmailCaptcha, "client_id", "native",
		"verification_id", v.id, "verification_code", code)
}

// signUp is the whole grant of the emailed code. at is where the tokens come from; all
// else happens anywhere.
func (f *fleet) signUp(at int, address string) reply {
	v, started := f.begin(anywhere, address)
	if started.status != http.StatusOK {
		return started
	}
	return f.post(at, "/oauth2/token", "grant_type", config.GrantEmailCaptcha, "client_id", "native",
		"verification_id", v.id, "verification_code", f.code(address, 10*time.Second))
}

func authorizePath(pairs ...string) string {
	q := form("client_id", "web", "redirect_uri", callback, "response_type", "code", "scope", "openid email offline_access",
		"state", "some-state", "nonce", "some-nonce", "code_challenge", codeChallenge, "code_challenge_method", "S256")
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return "/oauth2/authorize?" + q.Encode()
}

// arrived is what a redirect brought to the client, nothing if it went elsewhere.
func (r reply) arrived() url.Values {
	u, err := url.Parse(r.header.Get("Location"))
	if err != nil || r.status != http.StatusSeeOther || !strings.HasPrefix(u.String(), callback) {
		return url.Values{"error": {fmt.Sprintf("%d to %q %.300s", r.status, r.header.Get("Location"), r.body)}}
	}
	return u.Query()
}

// signedIn is a browser in which somebody has signed in, and what that brought.
func (f *fleet) signedIn(t *testing.T, address string, pairs ...string) (*visitor, url.Values) {
	t.Helper()
	v := f.visitor()
	page := v.submit(anywhere, v.open(anywhere, authorizePath(pairs...)), "email", "email", address)
	q := v.submit(anywhere, page, "code", "code", f.code(address, 10*time.Second)).arrived()
	if q.Get("code") == "" {
		t.Fatalf("sign-in: %v, answered by the replicas %v", q, v.by)
	}
	return v, q
}

// nextCode is an authorization code without a sign-in.
func (v *visitor) nextCode(at int, pairs ...string) url.Values {
	return v.open(at, authorizePath(append(pairs, "prompt", "none")...)).arrived()
}

func (f *fleet) exchange(at int, code string) reply {
	return f.post(at, "/oauth2/token", "grant_type", "authorization_code", "client_id", "web", "code", code,
		"redirect_uri", callback, "code_verifier", verifier)
}

func (f *fleet) refresh(at int, client, token string) reply {
	return f.post(at, "/oauth2/token", "grant_type", "refresh_token", "client_id", client, "refresh_token", token)
}

// everyStepElsewhere is a sign-in with its code exchange in which no two requests that
// follow each other meet the same replica.
func (f *fleet) everyStepElsewhere(t *testing.T) {
	v, q := f.signedIn(t, "steps@example.com")
	if len(v.by) != 5 { // the page, the address, the page for the code, the code, and on to the client
		t.Errorf("answered by the replicas %v, want five answers", v.by)
	}
	for i := range v.by[1:] {
		if v.by[i] == v.by[i+1] {
			t.Errorf("steps %d and %d were both answered by replica %s", i, i+1, v.by[i])
		}
	}
	if q.Get("state") != "some-state" || q.Get("iss") != f.issuer {
		t.Errorf("the client was told %v", q)
	}
	tokens := f.exchange(anywhere, q.Get("code"))
	tokens.is(t, "code exchange", http.StatusOK, "")
	for i := range replicas {
		info := f.userinfo(i, tokens.value("access_token"))
		if info.status != http.StatusOK || info.value("email") != "steps@example.com" {
			t.Errorf("userinfo at replica %d: %d %s", i, info.status, info.body)
		}
		if q := v.nextCode(i); q.Get("code") == "" {
			t.Errorf("the session at replica %d: %v", i, q)
		}
	}
}

// race asks at the same time, in turn at all replicas. Who is told of an outage asks again,
// as it should: on a machine that is busy with something else a store may answer late. calm
// is whether nobody was.
func (f *fleet) race(n int, ask func(i int) reply) (answers []reply, calm bool) {
	answers = make([]reply, n)
	before := f.outages.Load()
	var barrier, done sync.WaitGroup
	barrier.Add(1)
	for i := range answers {
		done.Go(func() {
			barrier.Wait()
			answers[i] = f.patient(func() reply { return ask(i) })
		})
	}
	barrier.Done()
	done.Wait()
	return answers, f.outages.Load() == before
}

// patient asks again, some times, while the answer is an outage.
func (f *fleet) patient(ask func() reply) reply {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	r := ask()
	for range 10 {
		if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
			break
		}
		f.outages.Add(1)
		<-tick.C
		r = ask()
	}
	return r
}

// oneWinner races, and fails the test unless exactly one of the answers is a 200 and all
// others are invalid_grant. Who was told of an outage may have won before.
func (f *fleet) oneWinner(t *testing.T, ask func() reply) {
	t.Helper()
	answers, calm := f.race(racers, func(int) reply { return ask() })
	won, by := 0, map[string]int{}
	for _, r := range answers {
		by[r.from()]++
		if r.status == http.StatusOK {
			won++
			continue
		}
		r.is(t, "who came late", http.StatusBadRequest, "invalid_grant")
	}
	if won != 1 && (won != 0 || calm) || len(by) != replicas {
		t.Fatalf("%d of %d got tokens, want 1; answered by %v", won, len(answers), by)
	}
}

// oneSuccessor refreshes one token at all replicas at once, three times over, and then
// replays the code that all came from.
func (f *fleet) oneSuccessor(t *testing.T) {
	_, q := f.signedIn(t, "refresh@example.com")
	tokens := f.exchange(0, q.Get("code"))
	tokens.is(t, "code exchange", http.StatusOK, "")
	token := tokens.value("refresh_token")
	for range 3 {
		successors := map[string]bool{}
		answers, _ := f.race(3*replicas, func(int) reply { return f.refresh(anywhere, "web", token) })
		for _, r := range answers {
			r.is(t, "refresh", http.StatusOK, "")
			tokens = r
			successors[r.value("refresh_token")] = true
		}
		if len(successors) != 1 || successors[""] || successors[token] {
			t.Fatalf("%d successors of one refresh token, want 1", len(successors))
		}
		token = tokens.value("refresh_token")
	}
	f.exchange(1, q.Get("code")).is(t, "the code again, elsewhere", http.StatusBadRequest, "invalid_grant")
	for i := range replicas {
		f.userinfo(i, tokens.value("access_token")).is(t, "userinfo after the replay", http.StatusUnauthorized, "invalid_token")
		f.refresh(i, "web", token).is(t, "refresh after the replay", http.StatusBadRequest, "invalid_grant")
	}
}

func (f *fleet) oneExchange(t *testing.T) {
	v, q := f.signedIn(t, "codes@example.com")
	tokens := f.exchange(anywhere, q.Get("code"))
	// More and more, until the replicas have the connections that a race needs: to make
	// one to PostgreSQL takes longer than a busy machine may let a request wait.
	for n := 1; n <= racers; n += replicas {
		answers, _ := f.race(n, func(int) reply { return f.userinfo(anywhere, tokens.value("access_token")) })
		for _, r := range answers {
			r.is(t, "userinfo", http.StatusOK, "")
		}
	}
	for range raceRounds {
		code := v.nextCode(anywhere).Get("code")
		f.oneWinner(t, func() reply { return f.exchange(anywhere, code) })
	}
}

func (f *fleet) oneRedeemer(t *testing.T) {
	for range raceRounds {
		v, _ := f.begin(anywhere, "racer@example.com")
		code := f.code(v.address, 10*time.Second)
		f.oneWinner(t, func() reply { return v.redeem(code) })
	}
}

// oneAccount signs a new address up several times at once, each time with a code of
// its own.
func (f *fleet) oneAccount(t *testing.T) {
	const signUps = 2 * replicas // below what one address may try
	for round := range raceRounds / 4 {
		address := fmt.Sprintf("new%d@example.com", round)
		var begun []verification
		var codes []string
		for range signUps {
			v, _ := f.begin(anywhere, address)
			begun, codes = append(begun, v), append(codes, f.code(address, 10*time.Second))
		}
		subjects := map[string]bool{}
		answers, calm := f.race(signUps, func(i int) reply { return begun[i].redeem(codes[i]) })
		for _, r := range answers {
			if !calm && r.status == http.StatusBadRequest { // its code was spent before the outage
				continue
			}
			r.is(t, "sign-up", http.StatusOK, "")
			subjects[f.userinfo(anywhere, r.value("access_token")).value("sub")] = true
		}
		if len(subjects) != 1 || subjects[""] {
			t.Fatalf("%d accounts of one address, want 1", len(subjects))
		}
	}
}

// signedOutEverywhere signs out at each replica in turn and looks at the others.
func (f *fleet) signedOutEverywhere(t *testing.T) {
	other, q := f.signedIn(t, "bye@example.com", "scope", "openid")
	stays := f.exchange(anywhere, q.Get("code"))
	for i := range replicas {
		v, q := f.signedIn(t, "bye@example.com", "scope", "openid")
		tokens := f.exchange(anywhere, q.Get("code"))
		tokens.is(t, "code exchange", http.StatusOK, "")
		f.userinfo(i, tokens.value("access_token")).is(t, "userinfo", http.StatusOK, "")
		unused := v.nextCode(anywhere, "scope", "openid").Get("code")
		copied := v.copy() // which has the cookie after the browser has dropped it
		for j := range replicas {
			if q := copied.nextCode(j); q.Get("code") == "" {
				t.Errorf("a copy of the cookie at replica %d: %v", j, q)
			}
		}
		v.submit(i, v.open(i, "/logout"), "confirm").is(t, "sign-out", http.StatusOK, "")
		for j := range replicas {
			f.userinfo(j, tokens.value("access_token")).is(t, "userinfo after the sign-out", http.StatusUnauthorized, "invalid_token")
			if q := copied.nextCode(j); q.Get("error") != "login_required" {
				t.Errorf("signed out at replica %d, at replica %d: %v", i, j, q)
			}
		}
		f.exchange(anywhere, unused).is(t, "a code of the session", http.StatusBadRequest, "invalid_grant")
	}
	f.userinfo(anywhere, stays.value("access_token")).is(t, "another browser's token", http.StatusOK, "")
	if q := other.nextCode(anywhere); q.Get("code") == "" {
		t.Errorf("another browser's session: %v", q)
	}
}

// The proxy of the test asks replicas in turn, as the tests of this file need it.
func TestFleetTakesTurns(t *testing.T) {
	f := &fleet{}
	for i := range replicas {
		f.replicas = append(f.replicas, &replica{name: fmt.Sprint(i)})
	}
	var order []string
	for range 4 {
		order = append(order, f.pick("").name)
	}
	f.replicas[1].out.Store(true)
	for range 4 {
		order = append(order, f.pick("1").name, f.pick("2").name)
	}
	if !slices.Equal(order[:4], []string{"1", "2", "0", "1"}) || slices.Contains(order[4:], "1") || !slices.Contains(order[4:], "0") {
		t.Errorf("asked in the order %v", order)
	}
}
