package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// refreshAhead is how long before its end an access token is replaced, or a fifth
// of its life if that is shorter.
const refreshAhead = time.Minute

const stateVersion = 1

// A state is one signed-in browser, as it is sealed.
type state struct {
	V int `json:"v"`
	// Key names the session in the memory of this process. It stays the same through
	// refreshes.
	Key string `json:"k"`
	// Sub and SID are those of the first ID token. Later ones may leave sid out.
	Sub string `json:"s"`
	SID string `json:"d,omitempty"`

	IDToken  string          `json:"i"`
	UserInfo json.RawMessage `json:"u,omitempty"`
	Access   string          `json:"a"`
	Refresh  string          `json:"r,omitempty"`

	// When the access token was got and when it ends, in unix milliseconds; 0 when
	// the issuer did not say.
	Obtained      int64 `json:"o"`
	AccessExpires int64 `json:"e,omitempty"`
	// When the person signed in and when the session is over at the latest.
	Begun int64 `json:"b"`
	Ends  int64 `json:"x"`

	// Lease is until when a process has the right to use Refresh. Only in a Store.
	Lease int64 `json:"l,omitempty"`
}

func (st state) encode() []byte {
	data, err := json.Marshal(st)
	if err != nil {
		panic(err) // strings, numbers and JSON that was decoded before
	}
	return data
}

func decodeState(data []byte) (state, bool) {
	var st state
	err := json.Unmarshal(data, &st)
	return st, err == nil && st.V == stateVersion
}

// with returns the state with the tokens that the issuer gave at now.
func (st state) with(t tokens, now time.Time) state {
	st.Access, st.Obtained, st.AccessExpires, st.Lease = t.access, now.UnixMilli(), 0, 0
	if t.life > 0 {
		st.AccessExpires = now.Add(t.life).UnixMilli()
	}
	if t.refresh != "" {
		st.Refresh = t.refresh
	}
	if t.id != "" {
		st.IDToken = t.id
	}
	return st
}

func (st state) live(now time.Time) bool { return now.UnixMilli() < st.Ends }

// left is how long the session may last.
func (st state) left(now time.Time) time.Duration { return time.UnixMilli(st.Ends).Sub(now) }

// alive says whether the access token has not ended.
func (st state) alive(now time.Time) bool {
	return st.AccessExpires == 0 || now.UnixMilli() < st.AccessExpires
}

// due says whether it is time for a new access token, and one can be had.
func (st state) due(now time.Time) bool {
	if st.Refresh == "" || st.AccessExpires == 0 {
		return false
	}
	ahead := min(refreshAhead.Milliseconds(), (st.AccessExpires-st.Obtained)/5)
	return now.UnixMilli() >= st.AccessExpires-ahead
}

// identity reads what the issuer said about the person.
func (st state) identity() (*Identity, error) {
	id, err := oauth.InsecureReadIDToken(st.IDToken) // verified before it was sealed
	if err != nil {
		return nil, err
	}
	i := &Identity{id: id}
	if len(st.UserInfo) > 0 {
		if i.info, err = parseObject(st.UserInfo); err != nil {
			return nil, fmt.Errorf("userinfo: %w", err)
		}
	}
	return i, nil
}

// digest is how things are named that should not be there themselves.
func digest(kind, value string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// draw returns 256 random bits as text.
func draw() string {
	b := make([]byte, 32)
	rand.Read(b) // crypto/rand.Read never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// What ends the use of a session.
var (
	// errEnded says that the session is over, for good.
	errEnded = errors.New("the session is over")
	// errOutage says that something is away at the moment: the issuer or the store.
	errOutage = errors.New("not available at the moment")
)

func outage(err error) error { return fmt.Errorf("%w: %w", errOutage, err) }
