package oauth_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// A verifier that sees nothing but tokens it remembers still hears of a rotation.
func TestCacheHitsKeepTheKeysFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, next := newKey(t, "k1", "EdDSA"), newKey(t, "k2", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, nil)
		token := key.token(t, hourly())
		wantAccepted(t, v, token)
		m.publish(key, next)
		for range 20 { // ten minutes, and a refresh every five
			pass(30 * time.Second)
			wantAccepted(t, v, token)
			synctest.Wait()
		}
		wantAsked(t, m, 2+1)
		m.publish(next)
		refused := false
		for range 20 {
			pass(30 * time.Second)
			if _, err := v.Verify(t.Context(), token); err != nil {
				wantInvalid(t, v, token)
				refused = true
			} else if refused {
				t.Error("accepted again")
			}
			synctest.Wait()
		}
		if !refused {
			t.Error("a token whose key was withdrawn is still accepted after ten minutes")
		}
	})
}

func TestCacheHitWithStaleKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, func(c *oauth.RemoteConfig) { c.MaxStale = time.Hour })
		token := key.token(t, hourly())
		wantAccepted(t, v, token)
		m.setAnswer(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
		})
		for range 59 {
			pass(time.Minute)
			wantAccepted(t, v, token)
			synctest.Wait()
		}
		pass(time.Minute)
		wantUnavailable(t, v, token) // an outage says nothing about the token
		m.setAnswer(nil)
		pass(5 * time.Second)
		wantAccepted(t, v, token)
	})
}

// The same name with other numbers is another key.
func TestCacheHitAndReusedKeyName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, other := newKey(t, "k1", "EdDSA"), newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, nil)
		old, renewed := key.token(t, hourly()), other.token(t, hourly().with("jti", "token-2"))
		wantAccepted(t, v, old)
		wantInvalid(t, v, renewed)
		m.publish(other)
		pass(time.Hour)
		wantInvalid(t, v, old)
		wantAccepted(t, v, renewed)
		wantInvalid(t, v, old)
		m.publish(key) // and back
		pass(time.Hour)
		wantAccepted(t, v, old)
		wantInvalid(t, v, renewed)
	})
}

func TestCacheRule09_UnknownKeysOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, forger := newKey(t, "k1", "EdDSA"), newKey(t, "", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, nil)
		good := key.token(t, hourly())
		wantAccepted(t, v, good)
		_, rest, _ := strings.Cut(forger.token(t, hourly()), ".")
		next := newKey(t, "k2", "EdDSA")
		fresh := next.token(t, hourly())
		for i := range 200 { // ten minutes
			pass(3 * time.Second)
			wantInvalid(t, v, encode(forger.header().with("kid", fmt.Sprint("forged-", i)).json(t))+"."+rest)
			start := time.Now()
			wantAccepted(t, v, good)
			if waited := time.Since(start); waited > 0 {
				t.Errorf("a remembered token waited %v", waited)
			}
			switch i {
			case 100:
				m.publish(key, next)
			case 111: // the next attempt is over
				wantAccepted(t, v, fresh)
			}
		}
		if v.CacheLen() != 2 || v.HeadersSeen() != 2 {
			t.Errorf("%d tokens and %d headers are remembered, want those of the good ones", v.CacheLen(), v.HeadersSeen())
		}
		if got := m.asked(); got > 21 {
			t.Errorf("asked %d times in ten minutes", got)
		}
	})
}

// RS-18: a key is published, used, and the old one withdrawn, at 200 requests a
// second that come again and again.
func TestRS18_RotationUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(memoryIssuer)
		m.cacheControl = "max-age=60"
		signer, next := newKey(t, "k0", "EdDSA"), newKey(t, "k1", "EdDSA")
		m.publish(signer, next)
		v := remote(t, m, nil)
		var tokens []string // a minute's, and those of the minute before
		minutes := func(n int) {
			for i := range n {
				for j := range 4 {
					claims := goodClaims(time.Now()).with("jti", fmt.Sprint(signer.kid, i, j)).with("exp", time.Now().Add(2*time.Minute).Unix())
					tokens = append(tokens, signer.token(t, claims))
				}
				tokens = tokens[max(0, len(tokens)-8):]
				for range 600 {
					pass(100 * time.Millisecond)
					for i := range 20 {
						wantAccepted(t, v, tokens[i%len(tokens)])
					}
				}
			}
		}
		for rotation := range 4 {
			minutes(2)
			signer = next
			minutes(3)
			next = newKey(t, fmt.Sprint("k", rotation+2), "EdDSA")
			m.publish(signer, next) // the one before is withdrawn, its last token is over
		}
	})
}

// RS-30 with a cache: rotation, revocation and new settings beside 64 goroutines that
// verify. Nobody is refused who should not be, and nobody passes.
func TestRS30_CacheUnderEverything(t *testing.T) {
	keys := make([]signingKey, 6)
	m := new(memoryIssuer)
	for i := range keys {
		keys[i] = newKey(t, fmt.Sprint("k", i), "EdDSA")
	}
	revoked, err := oauth.NewRevocations(oauth.RevocationsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m.publish(keys...)
	source, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: issuerURL, Client: &http.Client{Transport: m}, MinRefetch: 1, MaxAge: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	fresh := func() *oauth.JWTVerifier {
		v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuerURL, Audiences: []string{api}, Revocations: revoked, CacheTokens: 16}, source)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var current atomic.Pointer[oauth.JWTVerifier]
	current.Store(fresh())
	var good, bad []string
	for i, k := range keys {
		good = append(good, k.token(t, goodClaims(time.Now()).with("jti", fmt.Sprint("good-", i))))
		bad = append(bad, newKey(t, k.kid, "EdDSA").token(t, goodClaims(time.Now())), k.token(t, goodClaims(time.Now()).with("sid", "ended")))
	}
	revoked.EndSession("ended")
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for n := range 30 {
				switch {
				case i == 0:
					revoked.EndSession(fmt.Sprint("other-", n))
				case i == 1:
					current.Store(fresh())
				case i == 2:
					m.publish(keys...)
				case i%4 == 3:
					wantInvalid(t, current.Load(), bad[(i+n)%len(bad)])
				default:
					wantAccepted(t, current.Load(), good[(i+n)%len(good)])
				}
			}
		})
	}
	wg.Wait()
}
