package fositestore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
)

const refreshPurpose secrets.Purpose = "refresh token"

// An authorization code is the grant's id and a random secret in base64url; a
// refresh token is a handle of the grant's id and a generation.
const (
	idBytes      = 16
	secretBytes  = 32
	codeLength   = (idBytes + secretBytes) / 3 * 4
	refreshBytes = idBytes + 4
)

// issueCode draws the secret half of an authorization code.
func (u *Unit) issueCode() (string, error) {
	if u.newID == "" {
		u.newID = secrets.NewID()
	}
	id, err := base64.RawURLEncoding.DecodeString(u.newID)
	if err != nil {
		return "", fmt.Errorf("grant id: %w", err)
	}
	u.codeSecret = make([]byte, secretBytes)
	rand.Read(u.codeSecret) // crypto/rand.Read never fails
	return base64.RawURLEncoding.EncodeToString(append(id, u.codeSecret...)), nil
}

// loadByCode loads the grant of an authorization code. A code that is none, or
// whose secret half is wrong, is errNoGrant.
func (u *Unit) loadByCode(ctx context.Context, code string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(code)
	if err != nil || len(raw) != idBytes+secretBytes || len(code) != codeLength {
		return errNoGrant
	}
	if err := u.load(ctx, base64.RawURLEncoding.EncodeToString(raw[:idBytes])); err != nil {
		return err
	}
	hash := sha256.Sum256(raw[idBytes:])
	if subtle.ConstantTimeCompare(hash[:], u.grant.CodeHash) != 1 {
		return errNoGrant
	}
	return nil
}

// issueRefresh returns the refresh token that this request answers with: the
// family's current one within the grace period, otherwise the next one.
func (u *Unit) issueRefresh() (string, error) {
	if !u.grace {
		p := u.store.policy
		u.rotates = u.grant.Generation > 0
		u.grant.rotate(u.now, p.RefreshGrace)
		u.grant.Kid = u.store.secrets.Current()
		if u.grant.RefreshMax == 0 {
			u.grant.RefreshMax = u.now.Add(p.RefreshMax).UnixMilli()
		}
		u.grant.RefreshIdle = u.now.Add(p.RefreshIdle).UnixMilli()
		u.dirty = true
	}
	return u.currentRefresh()
}

// currentRefresh says the family's current refresh token. It is derived, not
// stored: grant id, generation and a MAC.
func (u *Unit) currentRefresh() (string, error) {
	id, err := base64.RawURLEncoding.DecodeString(u.grant.ID)
	if err != nil {
		return "", fmt.Errorf("grant id: %w", err)
	}
	payload := binary.BigEndian.AppendUint32(id, u.grant.Generation)
	return u.store.secrets.HandleUnder(u.grant.Kid, refreshPurpose, payload)
}

// ParseRefresh returns the grant id and generation of a refresh token that this
// deployment made, without reading the store.
func (s *Store) ParseRefresh(token string) (id string, generation uint32, ok bool) {
	payload, _, err := s.secrets.ParseHandle(refreshPurpose, token)
	if err != nil || len(payload) != refreshBytes {
		return "", 0, false
	}
	return base64.RawURLEncoding.EncodeToString(payload[:idBytes]), binary.BigEndian.Uint32(payload[idBytes:]), true
}

// loadByRefresh loads the grant of a refresh token and notes which generation it
// is of.
func (u *Unit) loadByRefresh(ctx context.Context, token string) error {
	id, generation, ok := u.store.ParseRefresh(token)
	if !ok {
		return errNoGrant
	}
	u.presented, u.refreshing = generation, true
	return u.load(ctx, id)
}

// inGrace reports whether the presented generation was rotated so recently that
// it still gets the family's current token.
func (u *Unit) inGrace() bool {
	// Without a grace nobody is in it, not even a request that began before the
	// rotation it lost to.
	r, ok := u.grant.rotation(u.presented)
	return ok && u.store.policy.RefreshGrace > 0 && u.now.Before(time.UnixMilli(r.At).Add(u.store.policy.RefreshGrace))
}
