package oauth_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A rotation as issuers do it, under traffic: the new key is published, then used, then
// the old one is withdrawn when its last token has expired. Nobody with a good token is
// refused, though somebody sends invented key names all the time. Afterwards the old key
// is worth nothing.
func TestRS18_Rotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := newKey(t, "old", "EdDSA"), newKey(t, "new", "EdDSA")
		m := new(memoryIssuer)
		m.publish(old)
		v := remote(t, m, nil)
		signer := old
		sign := func() string { return signer.token(t, goodClaims(time.Now())) } // for ten minutes
		last := sign()

		// traffic passes some time with 200 good requests a second, four at once, and 20
		// with a key that does not exist.
		traffic := func(seconds int) {
			token := sign()
			for second := range seconds {
				forged := newKey(t, fmt.Sprint("forged", second), "EdDSA").token(t, goodClaims(time.Now()))
				for range 20 {
					var wg sync.WaitGroup
					for range 4 {
						wg.Go(func() { wantAccepted(t, v, token) })
						wg.Go(func() { wantAccepted(t, v, last) })
					}
					wg.Go(func() { wantInvalid(t, v, forged) })
					wg.Wait()
					pass(50 * time.Millisecond)
				}
			}
		}
		// quiet passes time with one request a second.
		quiet := func(d time.Duration) {
			for range int(d / time.Second) {
				wantAccepted(t, v, sign())
				pass(time.Second)
			}
		}
		traffic(3)
		m.publish(old, next)
		traffic(3)
		quiet(5 * time.Minute) // the key set's life
		last = sign()
		signer = next
		traffic(3)
		quiet(9 * time.Minute) // until the last token of the old key has expired
		last = sign()
		m.publish(next)
		traffic(3)
		quiet(5 * time.Minute)
		traffic(3)
		wantInvalid(t, v, old.token(t, goodClaims(time.Now())))
		if most := int(25*time.Minute/(30*time.Second)) + 1; m.asked() > most {
			t.Errorf("the key set was asked for %d times, want at most %d", m.asked(), most)
		}
	})
}
