package oauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// remoteKeys reads the keys of m with the defaults.
func remoteKeys(t testing.TB, m *memoryIssuer) *oauth.RemoteKeys {
	t.Helper()
	keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: issuerURL, Client: &http.Client{Transport: m}})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// hourly are the claims of a token that outlives the tests.
func hourly() object { return goodClaims(time.Now()).with("exp", time.Now().Add(48*time.Hour).Unix()) }

// Fresh or not, keys are not used beyond MaxStale, and not trusted to be fresh by a
// clock that was set back.
func TestKeysAndTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		var skew time.Duration
		v := remote(t, m, func(c *oauth.RemoteConfig) {
			c.MaxStale = time.Minute
			c.Now = func() time.Time { return time.Now().Add(skew) }
		})
		token := key.token(t, hourly())
		wantAccepted(t, v, token)
		pass(59 * time.Second)
		wantAccepted(t, v, token)
		skew = -time.Hour
		wantAccepted(t, v, token)
		synctest.Wait()
		wantAsked(t, m, 2)
		m.setAnswer(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		pass(time.Minute)
		wantUnavailable(t, v, token)
	})
}

// After each refresh the same key is the same value, so that finding it costs no more.
func TestKeyOutlivesRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(memoryIssuer)
		es, rs, ed := newKey(t, "es", "ES256"), newKey(t, "rs", "RS256"), newKey(t, "ed", "EdDSA")
		m.publish(es, rs, ed)
		keys := remoteKeys(t, m)
		find := func(k signingKey) any {
			key, err := keys.Key(t.Context(), k.kid, k.alg)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%p", key)
		}
		before := []any{find(es), find(rs), find(ed)}
		pass(time.Hour)
		for i, k := range []signingKey{es, rs, ed} {
			if find(k) != before[i] {
				t.Errorf("%s is another value after a refresh", k.alg)
			}
		}
		wantAsked(t, m, 2)
	})
}
