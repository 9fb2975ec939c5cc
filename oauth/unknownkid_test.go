package oauth_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRS15_UnknownKids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, forger := newKey(t, "k1", "EdDSA"), newKey(t, "", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, nil)
		claims := goodClaims(time.Now()).with("exp", time.Now().Add(time.Hour).Unix())
		good := key.token(t, claims)
		wantAccepted(t, v, good)

		// Their signature is never looked at, so one will do for all.
		_, rest, _ := strings.Cut(forger.token(t, claims), ".")
		forged := func(kid string) string {
			return encode(forger.header().with("kid", kid).json(t)) + "." + rest
		}
		for i := range 10_000 { // five minutes of them
			pass(30 * time.Millisecond)
			wantInvalid(t, v, forged(fmt.Sprint("forged-", i)))
			if i%100 == 0 {
				wantAccepted(t, v, good)
			}
		}
		if got := m.asked(); got > 11 {
			t.Errorf("forged names made %d requests in five minutes, want 1 in 30 s", got)
		}

		// A real rotation is not starved by them: seen within 30 s.
		next := newKey(t, "k2", "EdDSA")
		m.publish(key, next)
		for range 1_000 {
			pass(30 * time.Millisecond)
			wantInvalid(t, v, forged("forged"))
		}
		wantAccepted(t, v, next.token(t, claims))
	})
}

func TestRS15_UnknownKidsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, forger := newKey(t, "k1", "EdDSA"), newKey(t, "", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, nil)
		claims := goodClaims(time.Now()).with("exp", time.Now().Add(time.Hour).Unix())
		good := key.token(t, claims)
		wantAccepted(t, v, good)
		pass(time.Minute)

		m.setAnswer(slowly)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				token := forger.sign(t, forger.header().with("kid", fmt.Sprint("forged-", i)).json(t), claims.json(t))
				if _, err := v.Verify(t.Context(), token); err == nil {
					t.Error("a forged token was accepted")
				}
				if waited := time.Since(start); waited > 10*time.Second {
					t.Errorf("a request waited %v", waited)
				}
			})
		}
		synctest.Wait()
		wantAccepted(t, v, good) // while the others wait
		if time.Since(start) != 0 {
			t.Errorf("a known key waited %v", time.Since(start))
		}
		wg.Wait()
		wantAsked(t, m, 2)
	})
}
