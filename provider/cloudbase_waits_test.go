package provider_test

import (
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// TestCloudBase_StoreWaits counts how often each call waits for the store, one wait
// after the other, and that a name nobody has costs what anybody's does.
func TestCloudBase_StoreWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var count *storetest.Counter
		s := start(t, options{direct: true, store: func(db storage.Store) storage.Store {
			count = storetest.Count(storetest.Slow(db, func(string) time.Duration { return time.Millisecond }))
			return requestsOnly{db, count}
		}})
		a := s.app(envID)
		tokens := a.signedUp("ann@example.com", "ann", "password123")
		out, hidden := s.app(envID), s.app(hiddenID)
		proof, fresh := out.prove("ann@example.com"), out.prove("bob@example.com")
		v := out.verification("ann@example.com")
		code := s.code("ann@example.com")
		password := func(name string) req {
			return req{path: "signin", body: fields{"username": name, "password": "wrong-password1"}}
		}
		for _, c := range []struct {
			name          string
			waits, writes int
			app           *app
			r             req
			status        int
		}{
			{"verification, known", 6, 3, hidden, req{path: "verification", body: fields{"email": "ann@example.com"}}, 200},
			{"verification, unknown", 6, 3, hidden, req{path: "verification", body: fields{"email": "no@example.com"}}, 200},
			{"verify", 10, 8, out, req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": code}}, 200},
			{"signin by mailbox", 6, 2, out, req{path: "signin", body: fields{"verification_token": proof}}, 200},
			{"signup with username and password", 19, 8, out, req{path: "signup", body: fields{"verification_token": fresh, "username": "bob", "password": "password123"}}, 200},
			{"signin by password", 10, 5, a, req{path: "signin", body: fields{"username": "ann@example.com", "password": "password123"}}, 200},
			{"wrong password", 5, 2, out, password("ann@example.com"), 400},
			{"wrong password, by username", 5, 2, out, password("ann"), 400},
			{"password of nobody", 5, 2, out, password("nobody@example.com"), 400},
			{"password of no username", 5, 2, out, password("nobody"), 400},
			{"token", 2, 1, a, req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}, 200},
			{"me", 2, 0, a, req{method: "GET", path: "user/me", bearer: true}, 200},
			{"introspect", 1, 0, a, req{method: "GET", path: "token/introspect", bearer: true}, 200},
			{"exists, known", 2, 0, out, req{method: "GET", path: "checkIfUserExist?username=ann"}, 200},
			{"exists, unknown", 2, 0, out, req{method: "GET", path: "checkIfUserExist?username=" + url.QueryEscape("no@example.com")}, 200},
			{"revoke", 2, 1, a, req{path: "revoke", body: fields{"token": a.token}}, 200},
		} {
			count.Reset()
			got := c.app.do(c.r)
			waits, writes := count.Sequential(), count.Calls("Put", "Delete", "Add")
			t.Logf("%-34s %2d waits, %d writes", c.name, waits, writes)
			if got.status != c.status || waits != c.waits || writes != c.writes {
				t.Errorf("%s: %d waits and %d writes, want %d and %d; %d %s", c.name, waits, writes, c.waits, c.writes, got.status, got.body)
			}
		}
	})
}
