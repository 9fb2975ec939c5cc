package session

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	// flowLife is how long a person may take to sign in.
	flowLife = 10 * time.Minute
	// maxFlows is how many sign-ins of one browser are open at once. Without a bound,
	// a page elsewhere that opens the login path again and again fills the browser's
	// cookies until no server takes its requests any more.
	maxFlows = 5
	// flowNameBytes is how much of the state names the flow's cookie.
	flowNameBytes = 16
)

// A flow is one sign-in that has begun. It is sealed in a cookie of its own, so
// that several tabs do not disturb each other and nothing is kept here for people
// who never come back.
type flow struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // PKCE
	ReturnTo string `json:"r"`
	Begun    int64  `json:"b"` // unix milliseconds
}

// beginFlow draws a flow and gives it to the browser. Of too many the oldest goes.
func (s *Sessions) beginFlow(w http.ResponseWriter, r *http.Request, returnTo string) flow {
	now := s.now()
	f := flow{State: draw(), Nonce: draw(), Verifier: oauth2.GenerateVerifier(), ReturnTo: returnTo, Begun: now.UnixMilli()}
	s.makeRoom(w, r)
	data, err := json.Marshal(f)
	if err != nil {
		panic(err) // strings and a number
	}
	name := s.flowName(f.State)
	s.cookies.set(w, name, text(s.sealer.seal(name, data)), flowLife)
	return f
}

func (s *Sessions) flowName(state string) string { return s.cookies.flow + state[:flowNameBytes] }

// makeRoom takes from the browser the flows that are over, and the oldest of those
// that are too many with one more.
func (s *Sessions) makeRoom(w http.ResponseWriter, r *http.Request) {
	open, oldest := 0, flow{}
	for _, c := range r.Cookies() {
		if !strings.HasPrefix(c.Name, s.cookies.flow) {
			continue
		}
		f, ok := s.openFlow(c.Name, c.Value)
		if !ok {
			s.cookies.clear(w, c.Name)
			continue
		}
		open++
		if oldest.State == "" || f.Begun < oldest.Begun {
			oldest = f
		}
	}
	if open >= maxFlows {
		s.cookies.clear(w, s.flowName(oldest.State))
	}
}

func (s *Sessions) openFlow(name, value string) (flow, bool) {
	sealed, ok := untext(value)
	if !ok {
		return flow{}, false
	}
	data, _, ok := s.sealer.open(name, sealed)
	var f flow
	if !ok || json.Unmarshal(data, &f) != nil || len(f.State) < flowNameBytes {
		return flow{}, false
	}
	age := s.now().Sub(time.UnixMilli(f.Begun))
	return f, age < flowLife
}

// takeFlow returns the flow that a callback belongs to, and takes it from the
// browser. It is false unless this browser began a flow with this very state.
func (s *Sessions) takeFlow(w http.ResponseWriter, r *http.Request, state string) (flow, bool) {
	if len(state) != len(draw()) || strings.ContainsFunc(state, notBase64URL) {
		return flow{}, false
	}
	name := s.flowName(state)
	f, ok := s.openFlow(name, only(r, name))
	if !ok || subtle.ConstantTimeCompare([]byte(f.State), []byte(state)) != 1 {
		return flow{}, false
	}
	s.cookies.clear(w, name)
	return f, true
}

func notBase64URL(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}
