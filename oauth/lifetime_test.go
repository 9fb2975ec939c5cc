package oauth_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// streams returns the claims of a good token and the list that may end it.
func streams(t testing.TB) (*oauth.AccessToken, *oauth.Revocations) {
	t.Helper()
	key := newKey(t, "k1", "EdDSA")
	revoked, err := oauth.NewRevocations(oauth.RevocationsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuerURL, Audiences: []string{api}, Revocations: revoked}, staticKeys(t, key.public()))
	if err != nil {
		t.Fatal(err)
	}
	return wantAccepted(t, v, key.token(t, goodClaims(time.Now()).with("sid", "session-1"))), revoked
}

func wantEnded(t *testing.T, ctx context.Context, reason string) {
	t.Helper()
	cause := context.Cause(ctx)
	if reason == "" && cause == nil {
		return
	}
	if reason == "" || !errors.Is(cause, oauth.ErrInvalidToken) || !strings.Contains(cause.Error(), reason) {
		t.Errorf("the context ended with %v, want %q", cause, reason)
	}
}

func TestCacheRule12_StreamsEndWithTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token, revoked := streams(t)
		expiring, cancel := token.Context(t.Context())
		defer cancel()
		abandoned, abandon := token.Context(t.Context())
		parent, leave := context.WithCancel(t.Context())
		child, cancelChild := token.Context(parent)
		defer cancelChild()

		pass(5 * time.Minute)
		revoked.EndSession("another")
		synctest.Wait()
		for _, ctx := range []context.Context{expiring, abandoned, child} {
			wantEnded(t, ctx, "")
		}
		abandon()
		leave()
		if context.Cause(abandoned) != context.Canceled || context.Cause(child) != context.Canceled {
			t.Errorf("%v, %v", context.Cause(abandoned), context.Cause(child))
		}
		pass(5*time.Minute + 30*time.Second - 1)
		synctest.Wait()
		wantEnded(t, expiring, "") // the leeway of the verifier
		pass(1)
		synctest.Wait()
		wantEnded(t, expiring, "expired")

		late, cancelLate := token.Context(t.Context())
		defer cancelLate()
		wantEnded(t, late, "expired") // at once
	})
}

func TestCacheRule12_StreamsEndWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token, revoked := streams(t)
		ctx, cancel := token.Context(t.Context())
		defer cancel()
		pass(90 * time.Second)
		revoked.EndToken("another")
		synctest.Wait()
		revoked.EndSession("session-1")
		synctest.Wait()
		wantEnded(t, ctx, "ended")

		late, cancelLate := token.Context(t.Context())
		defer cancelLate()
		wantEnded(t, late, "ended")
	})
}

// Claims of nobody, and those that no verifier of ours made, end by exp alone.
func TestContextOfNobody(t *testing.T) {
	ctx, cancel := new(oauth.AccessToken).Context(t.Context())
	defer cancel()
	wantEnded(t, ctx, "expired")
}
