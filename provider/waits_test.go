package provider_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// requestsOnly sends what requests ask through a counter, and what the provider's
// background work asks straight to the store.
type requestsOnly struct {
	storage.Store
	counted storage.Store
}

func (s requestsOnly) of(ctx context.Context) storage.Store {
	if ctx.Value(fromRequest{}) != nil {
		return s.counted
	}
	return s.Store
}

func (s requestsOnly) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	return s.of(ctx).Get(ctx, keys...)
}

func (s requestsOnly) Put(ctx context.Context, r storage.Record) error { return s.of(ctx).Put(ctx, r) }

func (s requestsOnly) Delete(ctx context.Context, k storage.Key) error {
	return s.of(ctx).Delete(ctx, k)
}

func (s requestsOnly) List(ctx context.Context, group string, p storage.Page) ([]storage.Record, string, error) {
	return s.of(ctx).List(ctx, group, p)
}

func (s requestsOnly) Add(ctx context.Context, k storage.Key, delta int64, life time.Duration) (int64, error) {
	return s.of(ctx).Add(ctx, k, delta, life)
}

// TestStoreWaits counts how often each kind of request waits for the store, one
// wait after the other. With a store on another machine that is what a request
// costs.
func TestStoreWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var count *storetest.Counter
		s := start(t, options{direct: true, store: func(db storage.Store) storage.Store {
			count = storetest.Count(storetest.Slow(db, func(string) time.Duration { return time.Millisecond }))
			return requestsOnly{db, count}
		}})
		tokens := s.tokens("ann@example.com")
		access := tokens["access_token"].(string)
		b := s.browser()
		code := b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback).Get("code")
		allowed := s.thirdTokens(b)
		allowedCode := b.allows().arrives(t, callback).Get("code")
		ask := func(client string) answer {
			a := b.send(s.request("GET", authorizePath(client), ""))
			if a.arrives(t, callback).Get("code") != "" {
				a.status = http.StatusOK
			}
			return a
		}
		var refreshed, service, signed map[string]any

		for _, flow := range []struct {
			name   string
			waits  int
			writes int
			ask    func() answer
		}{
			{"signed-out sign-in page", 0, 0, func() answer { return s.browser().get(authorizePath(webID)) }},
			{"authorize, signed in", 3, 1, func() answer { return ask(webID) }},
			{"authorize, allowed before", 3, 1, func() answer { return ask(thirdID) }},
			{"client_credentials", 0, 0, func() answer {
				a := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", "scope", "notes:read")
				service = a.json(t)
				return a
			}},
			{"client_credentials, with an assertion", 1, 1, func() answer {
				a := s.asSigner("/oauth2/token", "grant_type", "client_credentials", "scope", "notes:read")
				signed = a.json(t)
				return a
			}},
			{"introspection, with an assertion", 2, 1, func() answer {
				return s.asSigner("/oauth2/introspect", "token", signed["access_token"].(string))
			}},
			{"code exchange", 3, 1, func() answer { return s.exchange(code) }},
			{"code exchange, allowed by the person", 3, 1, func() answer { return s.thirdExchange(allowedCode) }},
			{"refresh, allowed by the person", 2, 1, func() answer { return s.thirdRefresh(allowed["refresh_token"].(string)) }},
			{"refresh", 2, 1, func() answer {
				a := s.refresh(tokens["refresh_token"].(string))
				refreshed = a.json(t)
				return a
			}},
			{"refresh within the grace", 2, 0, func() answer { return s.refresh(tokens["refresh_token"].(string)) }},
			{"userinfo", 1, 0, func() answer { return s.userinfo(access) }},
			{"introspection", 1, 0, func() answer {
				return s.postAs(secretID, backendSecret, "/oauth2/introspect", "token", service["access_token"].(string))
			}},
			{"revocation of an access token", 1, 1, func() answer {
				return s.post("/oauth2/revoke", "client_id", webID, "token", refreshed["access_token"].(string))
			}},
			{"revocation of a refresh token", 2, 1, func() answer {
				return s.post("/oauth2/revoke", "client_id", webID, "token", refreshed["refresh_token"].(string))
			}},
			{"keys", 0, 0, func() answer {
				resp, err := s.Client().Get(s.url("/oauth2/jwks"))
				return read(t, resp, err)
			}},
		} {
			count.Reset()
			if a := flow.ask(); a.status != http.StatusOK {
				t.Fatalf("%s: %d %s", flow.name, a.status, a.body)
			}
			waits, writes := count.Sequential(), count.Calls("Put", "Delete", "Add")
			t.Logf("%-32s %d waits, %d writes", flow.name, waits, writes)
			if waits != flow.waits || writes != flow.writes {
				t.Errorf("%s: %d waits and %d writes, want %d and %d", flow.name, waits, writes, flow.waits, flow.writes)
			}
		}

		verify, err := s.provider.Verifier(api)
		if err != nil {
			t.Fatal(err)
		}
		count.Reset()
		if _, err := verify.Verify(context.WithValue(t.Context(), fromRequest{}, true), access); err != nil {
			t.Fatal(err)
		}
		if n := count.Calls(); n != 0 {
			t.Errorf("verifying a token in the middleware asked the store %d times, want 0", n)
		}
	})
}
