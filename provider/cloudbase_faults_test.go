package provider_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// faulty starts a server without a listener whose store fails the requests that f
// says.
func faulty(t *testing.T, f *fault) *server {
	t.Helper()
	return start(t, options{direct: true, store: func(db storage.Store) storage.Store {
		return requestsOnly{db, storetest.Faulty(db, f.fail)}
	}})
}

// faultModes are the ways in which a store fails: a call is not made, or its answer
// is lost, or from it on nothing works, as if the process were killed there.
var faultModes = map[string]struct {
	on  bool
	err error
}{"call": {false, errHostile}, "reply": {false, lateErr}, "store": {true, errHostile}, "killed after": {true, lateErr}}

// A sign-up that dies between any two calls of the store leaves no account or a usable
// one, and the address is never stuck. The same request, sent again, completes it.
func TestCloudBase_SignUpDiesAnywhere(t *testing.T) {
	f := &fault{}
	s := faulty(t, f)
	for name, mode := range faultModes {
		for call := 1; ; call++ {
			email := fmt.Sprintf("%s%d@example.com", strings.ReplaceAll(name, " ", "-"), call)
			username := strings.ReplaceAll(fmt.Sprintf("u%s%d", name, call), " ", "-")
			a := s.app(envID)
			r := req{path: "signup", id: secrets.NewID(), body: fields{"email": email, "verification_token": a.prove(email), "username": username, "password": "password123"}}
			f.arm(call, mode.on, mode.err)
			got := a.do(r)
			calls, _ := f.disarm()
			if got.status != http.StatusOK && got.json(t)["error"] != "unavailable" {
				t.Fatalf("%s %d: %d %s", name, call, got.status, got.body)
			}
			got.leaksNothing(t, name)
			again := a.do(r)
			if again.status != http.StatusOK {
				t.Errorf("%s %d of %d: sent again: %d %s", name, call, calls, again.status, again.body)
			} else {
				a.took(again.json(t))
				if me := a.me(); me["username"] != username || me["password"] != "SET" {
					t.Errorf("%s %d of %d: sent again, it made %v", name, call, calls, me)
				}
			}
			if got := a.signInWith(username, "password123"); got.status != http.StatusOK {
				t.Errorf("%s %d of %d: the password: %s", name, call, calls, got.body)
			}
			s.usable(email, name, call)
			if calls < call {
				break
			}
		}
	}
}

// The same without a second try: whatever is there, its owner gets in, and can have
// the username.
func TestCloudBase_SignUpAbandonedAnywhere(t *testing.T) {
	f := &fault{}
	s := faulty(t, f)
	for name, mode := range faultModes {
		for call := 1; ; call++ {
			email := fmt.Sprintf("%s%d@example.com", strings.ReplaceAll(name, " ", "-"), call)
			username := strings.ReplaceAll(fmt.Sprintf("u%s%d", name, call), " ", "-")
			a := s.app(envID)
			body := fields{"email": email, "verification_token": a.prove(email), "username": username, "password": "password123"}
			f.arm(call, mode.on, mode.err)
			a.do(req{path: "signup", body: body})
			calls, _ := f.disarm()
			owner := s.usable(email, name, call)
			owner.ok(req{path: "user/basic/edit", body: fields{"username": username}, bearer: true})
			if calls < call {
				break
			}
		}
	}
}

// usable goes the documented way with an address, whatever has become of it.
func (s *server) usable(email, what string, call int) *app {
	s.t.Helper()
	a := s.app(envID)
	v := a.verification(email)
	token := a.verify(v, s.code(email))
	path := "signup"
	if v["is_user"] == true {
		path = "signin"
	}
	got := a.do(req{path: path, body: fields{"verification_token": token}})
	if got.status != http.StatusOK {
		s.t.Fatalf("%s %d: the address is stuck: %s: %d %s", what, call, path, got.status, got.body)
	}
	a.took(got.json(s.t))
	if me := a.me(); me["email"] != email {
		s.t.Errorf("%s %d: %v", what, call, me)
	}
	return a
}

// A change of the password that dies between any two calls has not happened, or has
// signed everybody else out in the end.
func TestCloudBase_PasswordChangeDiesAnywhere(t *testing.T) {
	f, clock := &fault{}, newClock()
	s := start(t, options{direct: true, now: clock.now, store: func(db storage.Store) storage.Store {
		return requestsOnly{db, storetest.Faulty(db, f.fail)}
	}})
	type change struct {
		email string
		other *app
	}
	var changes []change
	for name, mode := range faultModes {
		for call := 1; ; call++ {
			email := strings.ReplaceAll(fmt.Sprintf("%s%d@example.com", name, call), " ", "-")
			a, other := s.app(envID), s.app(envID)
			a.signedUp(email, "", "password123")
			other.took(other.signInWith(email, "password123").json(t))
			clock.advance(time.Millisecond) // sign-ins of the same moment stay
			r := req{method: "PATCH", path: "user/password", body: fields{"sudo_token": a.sudo("password123"), "new_password": "password456"}, bearer: true}
			f.arm(call, mode.on, mode.err)
			a.do(r)
			calls, _ := f.disarm()
			changes = append(changes, change{email, other})
			if calls < call {
				break
			}
		}
	}
	clock.advance(40 * time.Second) // what was left belongs to whoever looks now
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, c := range changes {
		changed := s.app(envID).signInWith(c.email, "password456").status == http.StatusOK
		for n := 0; changed && c.other.do(req{method: "GET", path: "user/me", bearer: true}).status == http.StatusOK; n++ {
			if n == 600 {
				t.Fatalf("%s: the password is changed, and somebody with the old one is still in", c.email)
			}
			<-tick.C
		}
		if !changed && s.app(envID).signInWith(c.email, "password123").status != http.StatusOK {
			t.Errorf("%s: neither password works", c.email)
		}
	}
}

// cloudFlows are calls with what comes before them, for a store that fails.
var cloudFlows = map[string]func(a *app, email string) req{
	"verification": func(_ *app, email string) req {
		return req{path: "verification", body: fields{"email": email}}
	},
	"verify": func(a *app, email string) req {
		v := a.verification(email)
		return req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": a.s.code(email)}}
	},
	"signin by mailbox": func(a *app, email string) req {
		a.signedUp(email, "", "")
		return req{path: "signin", body: fields{"verification_token": a.prove(email)}}
	},
	"signin by password": func(a *app, email string) req {
		a.signedUp(email, "", "password123")
		return req{path: "signin", body: fields{"username": email, "password": "password123"}}
	},
	"token": func(a *app, email string) req {
		return req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": a.signedUp(email, "", "")["refresh_token"]}}
	},
	"revoke": func(a *app, email string) req {
		return req{path: "revoke", body: fields{"token": a.signedUp(email, "", "")["access_token"]}}
	},
	"me": func(a *app, email string) req {
		a.signedUp(email, "", "")
		return req{method: "GET", path: "user/me", bearer: true}
	},
	"introspect": func(a *app, email string) req {
		a.signedUp(email, "", "")
		return req{method: "GET", path: "token/introspect", bearer: true}
	},
	"sudo": func(a *app, email string) req {
		a.signedUp(email, "", "password123")
		return req{path: "user/sudo", body: fields{"password": "password123"}, bearer: true}
	},
	"sudo by mail": func(a *app, email string) req {
		a.signedUp(email, "", "")
		return req{path: "user/sudo", body: fields{"verification_token": a.prove(email)}, bearer: true}
	},
	"password": func(a *app, email string) req {
		a.signedUp(email, "", "password123")
		return req{method: "PATCH", path: "user/password", body: fields{"sudo_token": a.sudo("password123"), "new_password": "password456"}, bearer: true}
	},
	"reset": func(a *app, email string) req {
		a.signedUp(email, "", "password123")
		return req{path: "reset", body: fields{"email": email, "new_password": "password456", "verification_token": a.prove(email)}}
	},
	"edit": func(a *app, email string) req {
		a.signedUp(email, "", "")
		return req{path: "user/basic/edit", body: fields{"nickname": "x", "username": "n-" + strings.NewReplacer("@", "-", " ", "-").Replace(email)}, bearer: true}
	},
	"email": func(a *app, email string) req {
		a.signedUp(email, "", "")
		to := "new-" + email
		a.verify(a.verification(to), a.s.code(to))
		return req{path: "user/basic/edit", body: fields{"email": to}, bearer: true}
	},
	"delete": func(a *app, email string) req {
		a.signedUp(email, "", "password123")
		return req{method: "DELETE", path: "user/me?sudo_token=" + url.QueryEscape(a.sudo("password123").(string)), bearer: true}
	},
	"exists": func(_ *app, email string) req {
		return req{method: "GET", path: "checkIfUserExist?username=" + url.QueryEscape(email)}
	},
}

// An outage is called one, nothing of it gets out, and the very same request, sent
// again by the SDK, succeeds.
func TestCloudBase_StoreFails(t *testing.T) {
	f := &fault{}
	s := faulty(t, f)
	for name, prepare := range cloudFlows {
		t.Run(name, func(t *testing.T) {
			for _, how := range failures {
				mode := faultModes[how]
				for call := 1; ; call++ {
					email := strings.ReplaceAll(fmt.Sprintf("%s.%s%d@example.com", name, how, call), " ", "-")
					a := s.app(envID)
					r := prepare(a, email)
					r.id = secrets.NewID()
					f.arm(call, mode.on, mode.err)
					got := a.do(r)
					calls, _ := f.disarm()
					got.leaksNothing(t, how)
					if got.status != http.StatusOK {
						if m := got.json(t); m["error"] != "unavailable" || m["error_code"] != float64(14) || m["retry_after"] == nil || got.status != http.StatusServiceUnavailable {
							t.Errorf("%s %d of %d: %d %s", how, call, calls, got.status, got.body)
						}
						gone := name == "delete" // it may have been done, and then nobody is signed in
						if again := a.do(r); again.status != http.StatusOK && !gone {
							t.Errorf("%s %d of %d, sent again: %d %s", how, call, calls, again.status, again.body)
						}
					}
					if calls < call {
						break
					}
				}
			}
		})
	}
}

// A hundred sign-ups of one address, or of one username, make one account.
func TestCloudBase_SignUpRace(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{store: wrap, config: func(c *config.Config) {
				c.Limits.TriesPerSource = 100000
				c.Limits.TriesPerAccount = 100
			}})
			const n = 25
			// One address, each with a proof of its own.
			bodies := make([]fields, n)
			for i := range bodies {
				bodies[i] = fields{"email": "one@example.com", "verification_token": s.app(envID).prove("one@example.com"), "username": fmt.Sprintf("user-%d", i)}
			}
			s.raceSignUps(bodies, 4)
			if u := s.account("one@example.com"); u.Username == "" {
				t.Errorf("%+v", u)
			}
			// One proof, many requests.
			token := s.app(envID).prove("two@example.com")
			for i := range bodies {
				bodies[i] = fields{"verification_token": token, "username": fmt.Sprintf("two-%d", i), "password": fmt.Sprintf("password%d", i)}
			}
			s.raceSignUps(bodies, 4)
			// One username.
			for i := range bodies {
				email := fmt.Sprintf("many%d@example.com", i)
				bodies[i] = fields{"email": email, "verification_token": s.app(envID).prove(email), "username": "wanted"}
			}
			s.raceSignUps(bodies, 4)
			holders := 0
			for _, u := range s.accounts() {
				if u.Username == "wanted" {
					holders++
				}
			}
			if all := len(s.accounts()); holders != 1 || all != 3 {
				t.Errorf("%d accounts, %d with the username", all, holders)
			}
		})
	}
}

// raceSignUps sends each body several times at once, each time as another request,
// and wants one winner.
func (s *server) raceSignUps(bodies []fields, each int) {
	s.t.Helper()
	var wg sync.WaitGroup
	answers := make([]answer, len(bodies)*each)
	for i := range answers {
		wg.Go(func() {
			a, r := s.app(envID), req{path: "signup", body: bodies[i%len(bodies)], id: secrets.NewID()}
			answers[i] = a.do(r)
			// A reply that was lost and overtaken cannot be settled: the same again.
			for range 10 {
				if answers[i].status == http.StatusServiceUnavailable {
					answers[i] = a.do(r)
				}
			}
		})
	}
	wg.Wait()
	won := 0
	for _, a := range answers {
		m := a.json(s.t)
		switch {
		case a.status == http.StatusOK:
			won++
		case m["error"] == "failed_precondition" && m["error_code"] == float64(9), m["error"] == "invalid_argument" && m["error_code"] == float64(3):
		default:
			s.t.Errorf("%d %s", a.status, a.body)
		}
	}
	if won != 1 {
		s.t.Errorf("%d of %d signed up", won, len(answers))
	}
}
