package oauth_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// newRevocations returns an empty list whose clock shows noon.
func newRevocations(t testing.TB, limit int) *oauth.Revocations {
	t.Helper()
	r, err := oauth.NewRevocations(oauth.RevocationsConfig{Limit: limit, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// RS-19 for tokens that are verified here: refused at once where the verifier was
// told, good until they expire elsewhere.
func TestRS19_RevokedToken(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	keys := staticKeys(t, key.public())
	for _, cache := range []int{0, -1} {
		revoked := newRevocations(t, 0)
		v, now := withClock(t, keys, func(c *oauth.JWTConfig) { c.Revocations, c.CacheTokens = revoked, cache })
		unaware, later := withClock(t, keys, nil)
		good := goodClaims(noon).with("sid", "session-1")
		token := key.token(t, good)
		wantAccepted(t, v, token)
		wantAccepted(t, unaware, token)

		revoked.EndSession("session-2")
		revoked.EndToken("token-2")
		revoked.EndSubject("user-2", noon)
		revoked.EndSession("")
		revoked.EndToken("")
		revoked.EndSubject("", noon)
		revoked.EndSession("user-1") // not the name of a session
		revoked.EndToken("session-1")
		wantAccepted(t, v, token)
		wantAccepted(t, v, key.token(t, good.without("sid")))

		for _, c := range []struct {
			name          string
			deed          func()
			ended, remain object
		}{
			{"session", func() { revoked.EndSession("s") }, good.with("sid", "s"), good.with("sid", "S")},
			{"token", func() { revoked.EndToken("t") }, good.with("jti", "t"), good.with("jti", "t2")},
			{"subject", func() { revoked.EndSubject("u", noon.Add(500*time.Millisecond)) }, good.with("sub", "u"), good.with("sub", "u").with("iat", noon.Unix()+1)},
			{"later", func() { revoked.EndSubject("v", noon.Add(10*time.Second)) }, good.with("sub", "v").with("iat", noon.Unix()+10), good.with("sub", "v").with("iat", noon.Unix()+11)},
			{"earlier, again", func() { revoked.EndSubject("v", noon.Add(-time.Hour)) }, good.with("sub", "v").with("iat", noon.Unix()+10), good.with("sub", "v").with("iat", noon.Unix()+11)},
		} {
			t.Run(c.name, func(t *testing.T) {
				ended, remain := key.token(t, c.ended), key.token(t, c.remain)
				if c.name != "earlier, again" {
					wantAccepted(t, v, ended)
				}
				wantAccepted(t, v, remain)
				c.deed()
				for range 2 {
					wantInvalid(t, v, ended)
					wantAccepted(t, v, remain)
				}
				wantAccepted(t, unaware, ended)
			})
		}
		now.Time, later.Time = noon.Add(time.Hour), noon.Add(time.Hour)
		wantInvalid(t, unaware, token)
	}
}

// When the list is full, the oldest end becomes the end of everything as old.
func TestRevocationsLimit(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	now := noon
	revoked, err := oauth.NewRevocations(oauth.RevocationsConfig{Limit: 3, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	v, clock := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.Revocations = revoked })
	issued := func(after time.Duration, jti string) string {
		return key.token(t, goodClaims(noon).with("jti", jti).with("iat", noon.Add(after).Unix()).with("exp", noon.Add(time.Hour).Unix()))
	}
	first, old, recent := issued(0, "t0"), issued(time.Minute, "old"), issued(time.Minute+time.Second, "recent")
	now = noon.Add(10 * time.Minute)
	clock.Time = now
	for _, token := range []string{first, old, recent} {
		wantAccepted(t, v, token)
	}
	now = noon
	revoked.EndToken("t0")
	now = noon.Add(10 * time.Minute)
	revoked.EndToken("t1")
	revoked.EndToken("t2")
	wantInvalid(t, v, first)
	wantAccepted(t, v, old)
	revoked.EndToken("t3") // t0 makes place
	wantInvalid(t, v, first)
	wantInvalid(t, v, old)
	wantAccepted(t, v, recent)

	// One that is ended again is the newest: not it but t2 makes place.
	revoked.EndToken("t1")
	now = noon.Add(20 * time.Minute)
	revoked.EndToken("t4")
	wantInvalid(t, v, issued(9*time.Minute, "t1"))
	wantInvalid(t, v, issued(10*time.Minute, "t2"))
	clock.Time = now
	wantAccepted(t, v, issued(12*time.Minute, "t5"))
}

// An end in the future is one now: what is issued after it is good.
func TestEndSubjectInTheFuture(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	revoked := newRevocations(t, 0)
	v, now := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.Revocations = revoked })
	revoked.EndSubject("user-1", noon.Add(time.Hour))
	wantInvalid(t, v, key.token(t, goodClaims(noon)))
	now.Time = noon.Add(2 * time.Minute)
	wantAccepted(t, v, key.token(t, goodClaims(now.Time)))
}

func TestRevocationsSettings(t *testing.T) {
	for _, limit := range []int{-1, 10_000_001} {
		if _, err := oauth.NewRevocations(oauth.RevocationsConfig{Limit: limit}); err == nil {
			t.Errorf("a limit of %d was accepted", limit)
		}
	}
	r, err := oauth.NewRevocations(oauth.RevocationsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Revoked(new(oauth.AccessToken)) || (*oauth.Revocations)(nil).Revoked(new(oauth.AccessToken)) {
		t.Error("nothing was revoked")
	}
}

func TestRevocationsByManyAtOnce(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	revoked := newRevocations(t, 50)
	v, _ := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.Revocations = revoked })
	var wg sync.WaitGroup
	for i := range 8 {
		token := key.token(t, goodClaims(noon).with("jti", fmt.Sprint("token-", i)).with("iat", noon.Unix()-100))
		wg.Go(func() {
			for n := range 20 {
				revoked.EndSession(fmt.Sprint(i, "-", n))
				v.Verify(t.Context(), token)
			}
			revoked.EndToken(fmt.Sprint("token-", i))
			wantInvalid(t, v, token)
		})
	}
	wg.Wait()
}
