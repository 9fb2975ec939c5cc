package fositestore

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// The states of a grant.
const (
	stateCode    = "code"    // an authorization code is out
	stateActive  = "active"  // tokens are out
	stateRevoked = "revoked" // nothing born of it is valid
)

// A Grant is one authorization of one client by one person, with the code and
// the token family born of it. It lives in grant/<id> from the code to the end of
// its last token. Times are unix milliseconds.
type Grant struct {
	V         int      `json:"v"`
	ID        string   `json:"id"`
	State     string   `json:"state"`
	Type      string   `json:"type"` // the grant type that made it
	ClientID  string   `json:"client_id"`
	Subject   string   `json:"sub"`
	SessionID string   `json:"sid,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	Audience  []string `json:"aud,omitempty"`
	AuthTime  int64    `json:"auth_time"` // unix seconds, as tokens carry it
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
	Consent   bool     `json:"consent,omitempty"` // it is good only while the person's consent of ConsentID covers its scopes
	ConsentID string   `json:"consent_id,omitempty"`
	CreatedAt int64    `json:"created_at"`
	Keep      int64    `json:"keep,omitempty"` // the record lives at least until then

	// By which Put the grant was made, its code spent, the grant ended and (in
	// Rotation) a token rotated: whoever lost the reply to a Put finds out here whether
	// it decided, even when somebody has changed the grant since.
	MadeBy  string `json:"made_by,omitempty"`
	SpentBy string `json:"spent_by,omitempty"`
	EndedBy string `json:"ended_by,omitempty"`

	// The authorization request. CodeHash is the SHA-256 of the code's secret half.
	CodeHash    []byte `json:"code_hash,omitempty"`
	CodeExpires int64  `json:"code_expires,omitempty"`
	RedirectURI string `json:"redirect_uri,omitempty"`
	Challenge   string `json:"code_challenge,omitempty"`
	Nonce       string `json:"nonce,omitempty"`

	// The token family. Generation is that of the current refresh token, 0 when
	// none was issued; Kid names the secret it is derived from.
	Generation    uint32     `json:"generation,omitempty"`
	Kid           string     `json:"kid,omitempty"`
	Rotations     []Rotation `json:"rotations,omitempty"`
	RefreshIdle   int64      `json:"refresh_idle,omitempty"` // when the current one ends unused
	RefreshMax    int64      `json:"refresh_max,omitempty"`  // when the family ends
	AccessExpires int64      `json:"access_expires,omitempty"`
}

// A Rotation says when a generation was replaced.
type Rotation struct {
	Generation uint32 `json:"g"`
	At         int64  `json:"at"`
	By         string `json:"by"`
}

// maxRotations bounds the recent rotations kept. A client that refreshes more
// often than this within the grace period loses the grace of its oldest token.
const maxRotations = 64

// Active reports whether tokens of the grant may be used.
func (g *Grant) Active() bool { return g != nil && g.State == stateActive }

// Offline reports whether the grant outlives the browser session it began in.
func (g *Grant) Offline() bool { return slices.Contains(g.Scopes, "offline_access") }

// rotation returns how the generation was replaced, if that is remembered.
func (g *Grant) rotation(generation uint32) (Rotation, bool) {
	i := slices.IndexFunc(g.Rotations, func(r Rotation) bool { return r.Generation == generation })
	if i < 0 {
		return Rotation{}, false
	}
	return g.Rotations[i], true
}

// rotate replaces the current refresh token by the next generation and forgets
// rotations whose grace is over.
func (g *Grant) rotate(now time.Time, grace time.Duration) {
	horizon := now.Add(-grace).UnixMilli()
	g.Rotations = slices.DeleteFunc(slices.Clone(g.Rotations), func(r Rotation) bool { return r.At < horizon })
	if g.Generation > 0 {
		g.Rotations = append(g.Rotations, Rotation{Generation: g.Generation, At: now.UnixMilli()})
	}
	if over := len(g.Rotations) - maxRotations; over > 0 {
		g.Rotations = g.Rotations[over:]
	}
	g.Generation++
}

// expires is when nothing born of the grant can be valid any more.
func (g *Grant) expires() time.Time {
	return time.UnixMilli(max(g.Keep, g.CodeExpires, g.AccessExpires, min(g.RefreshIdle, g.RefreshMax)))
}

// SessionGroup and SubjectGroup name the lists of grants born in one browser
// session and of one person.
func SessionGroup(sid string) string { return "grant/sid/" + sid }

// SubjectGroup names the list of one person's grants.
func SubjectGroup(sub string) string { return "grant/sub/" + sub }

func (g *Grant) record(prev storage.Record, version storage.Version) (storage.Record, error) {
	value, err := json.Marshal(g)
	if err != nil {
		return storage.Record{}, fmt.Errorf("encode grant: %w", err)
	}
	r := storage.Record{
		Key:     storage.Key{Kind: storage.Grant, ID: g.ID},
		Groups:  prev.Groups,
		Sort:    g.CreatedAt,
		Value:   value,
		Expires: g.expires(),
		Version: version,
		Prev:    prev.Version,
	}
	if prev.IsZero() {
		r.Groups = []string{SubjectGroup(g.Subject)}
		if g.SessionID != "" {
			r.Groups = append(r.Groups, SessionGroup(g.SessionID))
		}
	}
	return r, nil
}

func decodeGrant(r storage.Record) (*Grant, error) {
	var g Grant
	if err := json.Unmarshal(r.Value, &g); err != nil {
		return nil, fmt.Errorf("decode grant: %w: %w", storage.ErrCorrupt, err)
	}
	if g.V != 1 {
		return nil, fmt.Errorf("decode grant: %w: version %d is newer than this program", storage.ErrUnfit, g.V)
	}
	return &g, nil
}

// Session returns what fosite carries for tokens of this grant.
func (g *Grant) Session() *Session {
	return &Session{
		Subject: g.Subject, AuthTime: time.Unix(g.AuthTime, 0), ACR: g.ACR, AMR: g.AMR,
		SessionID: g.SessionID, Nonce: g.Nonce,
	}
}
