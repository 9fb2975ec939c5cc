package oauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// A revoked token works for as long as an answer is used, and no longer.
func TestRS19_Introspection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(tellingIssuer)
		i.set("opaque", activeToken(time.Now()))
		v := introspector(t, i, nil)
		wantAccepted(t, v, "opaque")
		i.set("opaque", nil)
		pass(30*time.Second - 1)
		wantAccepted(t, v, "opaque")
		if i.questions() != 1 {
			t.Errorf("asked %d times", i.questions())
		}
		// Whoever wants to know better does.
		if _, err := v.Introspect(t.Context(), "opaque", 10*time.Second); !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("a younger answer: %v", err)
		}
		wantInvalid(t, v, "opaque") // and then all do
		pass(1)
		wantInvalid(t, v, "opaque")
	})
}

func TestRS19_AnswerEndsWithTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(tellingIssuer)
		i.set("opaque", activeToken(time.Now()).with("exp", time.Now().Add(10*time.Second).Unix()))
		v := introspector(t, i, nil)
		wantAccepted(t, v, "opaque")
		pass(10 * time.Second)
		i.set("opaque", nil)
		wantInvalid(t, v, "opaque")
	})
}

func TestRS19_EachRequest(t *testing.T) {
	i := new(tellingIssuer)
	i.set("opaque", activeToken(time.Now()))
	v := introspector(t, i, func(cfg *oauth.IntrospectionConfig) { cfg.MaxAge = -1 })
	for range 3 {
		wantAccepted(t, v, "opaque")
	}
	i.set("opaque", nil)
	wantInvalid(t, v, "opaque")
	if i.questions() != 4 {
		t.Errorf("asked %d times", i.questions())
	}
}

// An outage does not make a token good for longer, and the answers that are there go on
// being used for their time.
func TestRS19_Outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(tellingIssuer)
		var log bytes.Buffer
		i.set("opaque", activeToken(time.Now()).with("exp", time.Now().Add(time.Hour).Unix()))
		v := introspector(t, i, func(cfg *oauth.IntrospectionConfig) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		wantAccepted(t, v, "opaque")
		i.setAnswer(says(503, "text/plain", "down"))
		pass(29 * time.Second)
		wantAccepted(t, v, "opaque")
		pass(time.Second)
		wantUnavailable(t, v, "opaque")
		wantUnavailable(t, v, "opaque")
		i.setAnswer(nil)
		wantAccepted(t, v, "opaque")
		if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "status 503") || strings.Contains(log.String(), "opaque") {
			t.Errorf("log: %s", &log)
		}
	})
}

// Requests with one token at the same time ask once; who wants an answer of now asks.
func TestIntrospectionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(tellingIssuer)
		i.set("opaque", activeToken(time.Now()))
		i.setAnswer(func(*http.Request) (*http.Response, error) {
			pass(2 * time.Second)
			return claimsAnswer(t, activeToken(time.Now()))(nil)
		})
		v := introspector(t, i, nil)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { wantAccepted(t, v, "opaque") })
		}
		leaver, leave := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := v.Verify(leaver, "opaque"); !errors.Is(err, context.Canceled) {
				t.Errorf("who left: %v", err)
			}
		})
		synctest.Wait()
		leave()
		wg.Go(func() {
			if _, err := v.Introspect(t.Context(), "opaque", 0); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if i.questions() != 2 {
			t.Errorf("asked %d times", i.questions())
		}
		// A question that has been open for longer than the answer may be old is no help.
		wg.Go(func() { v.Introspect(t.Context(), "other", time.Minute) })
		pass(time.Second)
		wg.Go(func() { v.Introspect(t.Context(), "other", time.Second) })
		wg.Wait()
		if i.questions() != 4 {
			t.Errorf("asked %d times", i.questions())
		}
	})
}

// A slow answer from before a revocation does not outlive the one from after it.
func TestRS19_SlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(tellingIssuer)
		i.setAnswer(func(*http.Request) (*http.Response, error) {
			pass(3 * time.Second)
			return claimsAnswer(t, activeToken(time.Now()))(nil)
		})
		v := introspector(t, i, nil)
		var wg sync.WaitGroup
		wg.Go(func() { wantAccepted(t, v, "opaque") })
		pass(time.Second)
		i.setAnswer(claimsAnswer(t, activeToken(time.Now()).with("sub", "newer")))
		if token, err := v.Introspect(t.Context(), "opaque", 0); err != nil || token.Subject() != "newer" {
			t.Errorf("%v, %v", token, err)
		}
		wg.Wait()
		if token := wantAccepted(t, v, "opaque"); token.Subject() != "newer" {
			t.Error("the slow answer took the place of the newer one")
		}
	})
}

// Invented tokens displace nothing and take no memory; good ones only each other.
func TestIntrospectionFlood(t *testing.T) {
	i := new(tellingIssuer)
	v := introspector(t, i, func(cfg *oauth.IntrospectionConfig) { cfg.Answers = 100 })
	for n := range 100 {
		i.set(fmt.Sprint("good", n), activeToken(time.Now()))
		wantAccepted(t, v, fmt.Sprint("good", n))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range 5000 {
		if _, err := v.Verify(t.Context(), fmt.Sprint("random", n)); !errors.Is(err, oauth.ErrInvalidToken) {
			t.Fatal(err)
		}
	}
	i.mu.Lock()
	i.asked = nil
	i.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("grown by %d bytes", grown)
	}
	for n := range 100 {
		wantAccepted(t, v, fmt.Sprint("good", n))
	}
	if i.questions() != 0 {
		t.Errorf("%d answers were displaced", i.questions())
	}
	for n := range 500 {
		i.set(fmt.Sprint("more", n), activeToken(time.Now()))
		wantAccepted(t, v, fmt.Sprint("more", n))
	}
	again := i.questions()
	for n := range 500 {
		wantAccepted(t, v, fmt.Sprint("more", n))
	}
	if kept := 500 - (i.questions() - again); kept > 100 {
		t.Errorf("%d answers are remembered", kept)
	}
}

func TestIntrospectionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(tellingIssuer)
		i.setAnswer(slowly)
		v := introspector(t, i, func(cfg *oauth.IntrospectionConfig) { cfg.Concurrent = 2 })
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() { wantUnavailable(t, v, fmt.Sprint(n)) })
		}
		synctest.Wait()
		if i.questions() != 2 {
			t.Errorf("%d questions are open", i.questions())
		}
		wg.Wait()
		i.setAnswer(nil)
		i.set("opaque", activeToken(time.Now()))
		wantAccepted(t, v, "opaque")
	})
}

// An answer that was on its way when another question learned of the revocation is not
// remembered: nothing but its slowness would make the token good again.
func TestRS19_SlowAnswerDoesNotOutliveARevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(tellingIssuer)
		i.setAnswer(func(*http.Request) (*http.Response, error) {
			pass(3 * time.Second)
			return claimsAnswer(t, activeToken(time.Now()))(nil)
		})
		v := introspector(t, i, nil)
		var wg sync.WaitGroup
		wg.Go(func() { wantAccepted(t, v, "opaque") })
		pass(time.Second)
		i.setAnswer(nil) // revoked
		if _, err := v.Introspect(t.Context(), "opaque", 0); !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("an answer of now: %v", err)
		}
		wg.Wait()
		wantInvalid(t, v, "opaque")
	})
}
