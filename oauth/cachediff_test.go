package oauth_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// A side is a service with its own view of the issuer.
type side struct {
	issuer   *memoryIssuer
	keys     *oauth.RemoteKeys
	verifier *oauth.JWTVerifier
}

// A world is an issuer and two services that differ in nothing but the cache. What
// happens in it is read from bytes, so that a fuzzer can write its history.
type world struct {
	t       *testing.T
	sides   [2]side // with and without
	revoked *oauth.Revocations
	skew    time.Duration // of the services' clock

	keys             []signingKey // of the issuer, ever
	published        []int        // those that the issuer shows
	kids             int
	tokens           []string
	history          []string
	accepted, hits   int
	invalid, waiting int
}

// spare are keys for worlds, made once.
var spare = sync.OnceValue(func() []signingKey {
	var keys []signingKey
	for range 12 {
		keys = append(keys, newKey(&testing.T{}, "", "EdDSA"))
	}
	return keys
})

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	if w.revoked, err = oauth.NewRevocations(oauth.RevocationsConfig{Limit: 12, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	for i := range w.sides {
		w.sides[i].issuer = new(memoryIssuer)
		cfg := oauth.RemoteConfig{
			Issuer: issuerURL, Client: &http.Client{Transport: w.sides[i].issuer}, Logger: slog.New(slog.DiscardHandler),
			Now: w.now, MaxStale: 2 * time.Hour,
		}
		if w.sides[i].keys, err = oauth.NewRemoteKeys(cfg); err != nil {
			t.Fatal(err)
		}
	}
	w.configure(0)
	w.rotate(0)
	w.rotate(0)
	return w
}

func (w *world) now() time.Time { return time.Now().Add(w.skew) }

// configure makes new verifiers, as a service does that reads its settings again.
func (w *world) configure(n byte) {
	for i := range w.sides {
		cfg := oauth.JWTConfig{
			Issuer: issuerURL, Audiences: [][]string{{api}, {"other"}, {api, "other"}, {api}}[n%4], Leeway: time.Duration(n%4) * 20 * time.Second,
			Now: w.now, Revocations: w.revoked, CacheTokens: []int{8, 0, 32}[n/4%3], CacheDigests: n&0x40 != 0,
		}
		if i == 1 {
			cfg.CacheTokens = -1
		}
		var err error
		if w.sides[i].verifier, err = oauth.NewJWTVerifier(cfg, w.sides[i].keys); err != nil {
			w.t.Fatal(err)
		}
	}
}

// rotate publishes one more key and withdraws one or not. Now and then the name is an
// old one.
func (w *world) rotate(n byte) {
	key := spare()[len(w.keys)%len(spare())]
	if n%4 != 3 {
		w.kids++
	}
	key.kid = fmt.Sprint("k", w.kids)
	w.keys = append(w.keys, key)
	w.published = append(w.published, len(w.keys)-1)
	if keep := int(n/4%3) + 1; len(w.published) > keep {
		w.published = w.published[len(w.published)-keep:]
	}
	var public []signingKey
	for _, i := range w.published {
		public = append(public, w.keys[i])
	}
	for i := range w.sides {
		w.sides[i].issuer.publish(public...)
	}
}

func (w *world) mint(n, m byte) {
	key := w.keys[w.published[int(n)%len(w.published)]]
	switch n % 16 {
	case 14: // it may have been withdrawn
		key = w.keys[max(0, len(w.keys)-3)]
	case 15: // nobody's
		key.private = spare()[len(spare())-1].private
	}
	now := time.Now() // by the issuer's clock
	claims := object{
		"iss": issuerURL, "aud": []string{api, api, api, "other", "nobody"}[n/16%5], "client_id": "app", "jti": fmt.Sprint("t", len(w.history)),
		"sub": fmt.Sprint("u", m%3), "sid": fmt.Sprint("s", m/3%5), "iat": now.Unix(),
		"exp": now.Add([]time.Duration{10 * time.Minute, time.Hour, 20 * time.Second, 24 * time.Hour}[m/16%4]).Unix(),
	}
	if m > 0xe0 {
		claims = claims.with("nbf", now.Add(time.Minute).Unix())
	}
	if n > 0xe0 {
		claims = claims.with("cnf", map[string]string{"jkt": strings.Repeat("A", 43)})
	}
	w.tokens = append(w.tokens, key.token(w.t, claims))
	if len(w.tokens) > 40 {
		w.tokens = w.tokens[1:]
	}
}

func (w *world) revoke(n byte) {
	switch n % 3 {
	case 0:
		w.revoked.EndSession(fmt.Sprint("s", n/3%5))
	case 1:
		w.revoked.EndSubject(fmt.Sprint("u", n/3%3), time.Now())
	default:
		w.revoked.EndToken(fmt.Sprint("t", max(0, len(w.history)-int(n))))
	}
}

// keyAnswers are what the issuer does when it is asked for its keys.
var keyAnswers = []func(*http.Request) (*http.Response, error){
	nil, nil, nil, slowly,
	func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
	func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
	},
}

var pauses = []time.Duration{
	1, time.Second, time.Second, 2 * time.Second, 10 * time.Second, 29 * time.Second, 30 * time.Second, 31 * time.Second,
	time.Minute, time.Minute, 4 * time.Minute, 5 * time.Minute, 11 * time.Minute, time.Second, time.Second, 90 * time.Minute,
}

// step does one thing that may happen.
func (w *world) step(what, n, m byte) {
	w.history = append(w.history, fmt.Sprintf("%d(%d, %d)", what%32, n, m))
	switch what % 32 {
	case 0:
		w.rotate(n)
	case 1:
		w.revoke(n)
	case 2:
		w.configure(n)
	case 3:
		for i := range w.sides {
			w.sides[i].issuer.setAnswer(keyAnswers[int(n)%len(keyAnswers)])
		}
	case 4: // the services' clock is set, wrong every other time
		w.skew = 0
		if m%2 == 0 {
			w.skew = time.Duration(int8(n)) * time.Duration(1+m%5) * time.Second
		}
	case 5, 6, 7:
		pass(pauses[int(n)%len(pauses)])
	case 8, 9, 10, 11, 12:
		w.mint(n, m)
	default:
		if len(w.tokens) > 0 {
			w.request(w.tokens[len(w.tokens)-1-int(n)%min(len(w.tokens), 1+int(m%20))], m)
		}
	}
	synctest.Wait() // what was begun in the background is done, or waits for time to pass
}

// request asks both sides at the same time.
func (w *world) request(token string, m byte) {
	switch m {
	case 0:
		token += "="
	case 1:
		token = token[:len(token)-4] + "AAAA"
	}
	entry, _ := w.sides[0].verifier.Cached(token)
	var decisions [2]string
	var wg sync.WaitGroup
	for i := range w.sides {
		wg.Go(func() {
			verify := w.sides[i].verifier.Verify
			if m%4 == 2 {
				verify = w.sides[i].verifier.VerifyBound
			}
			claims, err := verify(w.t.Context(), token)
			switch {
			case claims != nil && err == nil:
				decisions[i] = "accepted " + claims.ID()
				if claims == entry.Claims {
					w.hits++ // by the side with the cache alone
				}
			case claims == nil && errors.Is(err, oauth.ErrInvalidToken) && !errors.Is(err, oauth.ErrUnavailable):
				decisions[i] = "invalid"
			case claims == nil && errors.Is(err, oauth.ErrUnavailable) && !errors.Is(err, oauth.ErrInvalidToken):
				decisions[i] = "unavailable"
			default:
				decisions[i] = fmt.Sprint(claims, err)
			}
		})
	}
	wg.Wait()
	synctest.Wait() // attempts in the background have begun
	if decisions[0] != decisions[1] {
		w.t.Fatalf("with the cache %q, without %q, after\n%s", decisions[0], decisions[1], strings.Join(w.history, "\n"))
	}
	if with, without := w.sides[0].issuer.asked(), w.sides[1].issuer.asked(); with != without {
		w.t.Fatalf("the issuer was asked %d times with the cache, %d without, after\n%s", with, without, strings.Join(w.history, "\n"))
	}
	switch decisions[0] {
	case "invalid":
		w.invalid++
	case "unavailable":
		w.waiting++
	default:
		w.accepted++
	}
}

// live lets a history happen, three bytes a step.
func live(t *testing.T, history []byte) (w *world) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t)
		for ; len(history) >= 3; history = history[3:] {
			w.step(history[0], history[1], history[2])
		}
		pass(time.Minute) // attempts end
	})
	return w
}

func randomHistory(seed uint64, steps int) []byte {
	random := rand.New(rand.NewPCG(seed, 0))
	history := make([]byte, 3*steps)
	for i := range history {
		history[i] = byte(random.Uint32())
	}
	return history
}

func TestCacheRule14_OnAndOffDecideAlike(t *testing.T) {
	spare()
	var accepted, hits, invalid, waiting int
	for seed := range uint64(histories) {
		w := live(t, randomHistory(seed, 300))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		accepted, hits, invalid, waiting = accepted+w.accepted, hits+w.hits, invalid+w.invalid, waiting+w.waiting
	}
	t.Logf("%d accepted, %d invalid, %d unavailable; %d of the accepted were remembered", accepted, invalid, waiting, hits)
	if least := histories * 5; accepted < least || hits < least || invalid < least || waiting < least {
		t.Error("the histories are about nothing")
	}
}

func FuzzCacheOnAndOff(f *testing.F) {
	spare()
	for seed := range uint64(8) {
		f.Add(randomHistory(seed, 60))
	}
	f.Fuzz(func(t *testing.T, history []byte) { live(t, history[:min(len(history), 3*400)]) })
}
