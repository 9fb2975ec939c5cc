package verification

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// Purposes of what is derived from a verification's id.
const (
	handlePurpose  secrets.Purpose = "verification"
	codePurpose    secrets.Purpose = "code"
	messagePurpose secrets.Purpose = "code message-id"
	tokenPurpose   secrets.Purpose = "verification token"
	linkPurpose    secrets.Purpose = "verification link"
	oncePurpose    secrets.Purpose = "verification once"
	changePurpose  secrets.Purpose = "verification of a change"
)

// The states of a verification. A code is spent, never deleted, so that whoever
// comes second is told apart from whoever is wrong. An Ownership goes through proved,
// in which its code is used up and its token is not.
const (
	pending = "pending"
	proved  = "proved"
	spent   = "spent"
)

const recordVersion = 1

// A record is the stored form of a verification.
type record struct {
	V          int      `json:"v"`
	Client     string   `json:"client_id"`
	ClientName string   `json:"client_name,omitempty"`
	Email      string   `json:"email"`    // as typed: where a new account's mail goes
	Identity   string   `json:"identity"` // what an account is known by
	Purpose    Purpose  `json:"purpose"`
	Scopes     []string `json:"scopes,omitempty"`

	// What the verification is bound to; at most one is set.
	Browser   []byte `json:"browser,omitempty"`        // SHA-256 of the browser's secret
	Challenge string `json:"code_challenge,omitempty"` // RFC 7636, S256

	Device    string `json:"device,omitempty"`    // pseudonym of the device id
	Requester string `json:"requester,omitempty"` // who was signed in and asked
	Link      string `json:"link,omitempty"`      // where the mail's link leads in the end

	// What the code is derived from, with the id.
	Digits     int    `json:"digits"`
	Kid        string `json:"kid"`
	Generation int    `json:"generation"`

	Sends int   `json:"sends"`
	Sent  int64 `json:"sent"` // when the last mail was asked for; unix ms, as all times here

	State   string `json:"state"`
	Subject string `json:"subject,omitempty"` // drawn when the code is used

	// By which request the code, and of an Ownership the token, was used, and when. A
	// request that is sent again is recognised by it.
	Proved   int64  `json:"proved,omitempty"`
	ProvedBy string `json:"proved_by,omitempty"`
	Spent    int64  `json:"spent,omitempty"`
	SpentBy  string `json:"spent_by,omitempty"`
	Mark     string `json:"mark,omitempty"` // drawn by the Put that spent the token

	Request []byte `json:"request,omitempty"` // the door's, opaque
	Locale  string `json:"locale,omitempty"`
	Created int64  `json:"created"`
	Expires int64  `json:"expires"`
}

func key(id string) storage.Key { return storage.Key{Kind: storage.Verification, ID: id} }

// handle is the name under which the outside knows the verification. It follows
// from the id and is stored nowhere.
func (s *Service) handle(id string) string {
	raw, _ := secrets.ParseID(id)
	return s.deps.Secrets.Handle(handlePurpose, raw)
}

// openHandle returns the id that a handle of the purpose stands for.
func (s *Service) openHandle(p secrets.Purpose, handle string) (id string, ok bool) {
	raw, _, err := s.deps.Secrets.ParseHandle(p, handle)
	if err != nil || len(raw) != 16 {
		return "", false
	}
	return base64.RawURLEncoding.EncodeToString(raw), true
}

// read returns the live verification with this id. ok is false when there is none.
func read(ctx context.Context, store storage.Store, id string, now time.Time) (rec storage.Record, v record, ok bool, err error) {
	if _, ok := secrets.ParseID(id); !ok {
		return storage.Record{}, record{}, false, nil
	}
	recs, err := store.Get(ctx, key(id))
	if err != nil {
		return storage.Record{}, record{}, false, unavailable("read", err)
	}
	return live(recs[0], now)
}

// readWith is read together with the record of a device.
func (s *Service) readWith(ctx context.Context, id, deviceID string, now time.Time) (rec storage.Record, v record, device storage.Record, ok bool, err error) {
	if _, ok := secrets.ParseID(id); !ok {
		return rec, v, device, false, nil
	}
	recs, err := s.deps.Store.Get(ctx, key(id), s.deps.Devices.Key(deviceID))
	if err != nil {
		return rec, v, device, false, unavailable("read", err)
	}
	rec, v, ok, err = live(recs[0], now)
	return rec, v, recs[1], ok, err
}

// live decodes a record; ok is false when there is none or it has expired.
func live(r storage.Record, now time.Time) (rec storage.Record, v record, ok bool, err error) {
	if r.IsZero() {
		return storage.Record{}, record{}, false, nil
	}
	v, err = decode(r)
	if err != nil {
		return storage.Record{}, record{}, false, err
	}
	return r, v, now.UnixMilli() < v.Expires, nil
}

func decode(rec storage.Record) (record, error) {
	var v record
	if err := json.Unmarshal(rec.Value, &v); err != nil {
		return record{}, fmt.Errorf("verification: decode: %w", storage.ErrCorrupt)
	}
	if v.V != recordVersion {
		return record{}, fmt.Errorf("verification: decode: version %d: %w", v.V, storage.ErrUnfit)
	}
	return v, nil
}

// into returns rec with v as its value.
func (v record) into(rec storage.Record) (storage.Record, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return storage.Record{}, fmt.Errorf("verification: encode: %w", err)
	}
	rec.Value = value
	rec.Expires = time.UnixMilli(v.Expires)
	return rec, nil
}

// code derives the code. It fails when the secret it was made with was withdrawn.
func (v record) code(ring *secrets.Ring, id string) (string, error) {
	return ring.Digits(v.Kid, codePurpose, v.Digits, []byte(id), number(v.Generation))
}

func number(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func browserHash(secret []byte) []byte {
	sum := sha256.Sum256(secret)
	return sum[:]
}

// inBrowser reports whether v was started by the browser with this secret.
func (v record) inBrowser(secret []byte) bool {
	return len(v.Browser) != 0 && subtle.ConstantTimeCompare(v.Browser, browserHash(secret)) == 1
}
