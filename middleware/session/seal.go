package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

const keyIDBytes = 4

// A sealer encrypts what leaves the process and comes back through other hands
// (AES-256-GCM). What was sealed for one purpose opens for no other, and what
// another app sealed opens nowhere here, even with the same secret.
type sealer struct {
	app  string // in every purpose
	keys []sealKey
}

type sealKey struct {
	id   []byte
	aead cipher.AEAD
}

// newSealer returns a sealer whose first secret seals and whose others open.
func newSealer(app string, secrets []string) (*sealer, error) {
	s := &sealer{app: app}
	for _, secret := range secrets {
		// One extraction would do for both; it is done once, at the start.
		id, err := hkdf.Key(sha256.New, []byte(secret), nil, "lettergate session: key id", keyIDBytes)
		if err != nil {
			return nil, fmt.Errorf("derive a key: %w", err)
		}
		key, err := hkdf.Key(sha256.New, []byte(secret), nil, "lettergate session: AES-256-GCM", 32)
		if err != nil {
			return nil, fmt.Errorf("derive a key: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("derive a key: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("derive a key: %w", err)
		}
		s.keys = append(s.keys, sealKey{id, aead})
	}
	return s, nil
}

func (s *sealer) context(purpose string) []byte { return []byte(s.app + "\x00" + purpose) }

// seal returns data that only open with the same purpose reads.
func (s *sealer) seal(purpose string, data []byte) []byte {
	k := s.keys[0]
	return k.aead.Seal(bytes.Clone(k.id), nil, data, s.context(purpose))
}

// open returns what was sealed for purpose, and whether it was with a secret that
// is not the first any more. It is false for anything that nobody here sealed.
func (s *sealer) open(purpose string, sealed []byte) (data []byte, old, ok bool) {
	if len(sealed) < keyIDBytes {
		return nil, false, false
	}
	for i, k := range s.keys {
		if !bytes.Equal(k.id, sealed[:keyIDBytes]) {
			continue
		}
		if data, err := k.aead.Open(nil, nil, sealed[keyIDBytes:], s.context(purpose)); err == nil {
			return data, i > 0, true
		}
	}
	return nil, false, false
}

// text and untext write sealed bytes as a cookie's value. One value has one
// spelling.
func text(sealed []byte) string { return base64.RawURLEncoding.EncodeToString(sealed) }

func untext(value string) ([]byte, bool) {
	if strings.ContainsAny(value, "\r\n") {
		return nil, false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	return sealed, err == nil
}
