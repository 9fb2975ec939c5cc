package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// scopeIDBytes is the length of an issuer's id: 72 bits of a hash, so that two
// issuers of one store never share it by accident.
const scopeIDBytes = 12

// Scope returns the part of s that belongs to one issuer, as a Store. Every
// Provider works on one, so several can share a store without meeting.
//
// It begins ids and group names with the issuer's id, and frames values with a
// checksum over kind, id and value. A value that was altered, cut short, or moved
// under another key or another issuer is never returned: Get and List fail with
// ErrCorrupt, which names the kind and nothing else. A checksum is no MAC: whoever
// can write to the store can forge one.
//
// The limits of the contract hold exactly for callers of the returned Store; what
// is added lies within the Slack that engines accept. Closing it closes s.
func Scope(s Store, issuer string) Store {
	sum := sha256.Sum256([]byte(issuer))
	id := base64.RawURLEncoding.EncodeToString(sum[:])[:scopeIDBytes]
	return &scoped{store: s, prefix: id + "/"}
}

type scoped struct {
	store  Store
	prefix string
}

// key returns k as it is named in the store beneath.
func (s *scoped) key(k Key) (Key, error) {
	if len(k.ID) > MaxIDBytes {
		return Key{}, fmt.Errorf("%w: id of %d bytes, kind %s", ErrInvalid, len(k.ID), k.Kind)
	}
	if err := k.Check(); err != nil { // an empty id must not become a bare prefix
		return Key{}, err
	}
	return Key{Kind: k.Kind, ID: s.prefix + k.ID}, nil
}

func (s *scoped) group(name string) (string, error) {
	if name == "" || len(name) > MaxIDBytes {
		return "", fmt.Errorf("%w: group name of %d bytes", ErrInvalid, len(name))
	}
	return s.prefix + name, nil
}

// open turns a record of the store beneath into the caller's.
func (s *scoped) open(r Record) (Record, error) {
	value, ok := unframe(r.Key, r.Value)
	if !ok {
		return Record{}, fmt.Errorf("%w: kind %s", ErrCorrupt, r.Key.Kind)
	}
	r.Value = value
	if r.Key.ID, ok = strings.CutPrefix(r.Key.ID, s.prefix); !ok {
		return Record{}, fmt.Errorf("%w: kind %s, of another issuer", ErrCorrupt, r.Key.Kind)
	}
	for i, g := range r.Groups {
		if r.Groups[i], ok = strings.CutPrefix(g, s.prefix); !ok {
			return Record{}, fmt.Errorf("%w: kind %s, in a group of another issuer", ErrCorrupt, r.Key.Kind)
		}
	}
	return r, nil
}

func (s *scoped) Get(ctx context.Context, keys ...Key) ([]Record, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("%w: get of %d keys", ErrInvalid, len(keys))
	}
	named := make([]Key, len(keys))
	for i, k := range keys {
		var err error
		if named[i], err = s.key(k); err != nil {
			return nil, err
		}
	}
	records, err := s.store.Get(ctx, named...)
	if err != nil {
		return nil, err
	}
	if len(records) != len(keys) {
		return nil, fmt.Errorf("%w: %d records for %d keys", ErrCorrupt, len(records), len(keys))
	}
	for i, r := range records {
		if r.IsZero() {
			continue
		}
		if r.Key != named[i] { // an answer to somebody else's question
			return nil, fmt.Errorf("%w: kind %s under another key", ErrCorrupt, r.Key.Kind)
		}
		if records[i], err = s.open(r); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func (s *scoped) Put(ctx context.Context, r Record) error {
	if len(r.Value) > MaxValueBytes {
		return fmt.Errorf("%w: value of %d bytes, kind %s", ErrInvalid, len(r.Value), r.Key.Kind)
	}
	if err := r.Check(); err != nil {
		return err
	}
	key, err := s.key(r.Key)
	if err != nil {
		return err
	}
	groups := make([]string, len(r.Groups))
	for i, g := range r.Groups {
		if groups[i], err = s.group(g); err != nil {
			return err
		}
	}
	r.Key, r.Groups, r.Value = key, groups, frame(key, r.Value)
	return s.store.Put(ctx, r)
}

func (s *scoped) Delete(ctx context.Context, key Key) error {
	key, err := s.key(key)
	if err != nil {
		return err
	}
	return s.store.Delete(ctx, key)
}

func (s *scoped) List(ctx context.Context, group string, page Page) ([]Record, string, error) {
	group, err := s.group(group)
	if err != nil {
		return nil, "", err
	}
	records, next, err := s.store.List(ctx, group, page)
	if err != nil {
		return nil, "", err
	}
	for i, r := range records {
		if records[i], err = s.open(r); err != nil {
			return nil, "", err
		}
	}
	return records, next, nil
}

func (s *scoped) Add(ctx context.Context, key Key, delta int64, life time.Duration) (int64, error) {
	key, err := s.key(key)
	if err != nil {
		return 0, err
	}
	return s.store.Add(ctx, key, delta, life)
}

func (s *scoped) Ping(ctx context.Context) error { return s.store.Ping(ctx) }
func (s *scoped) Close() error                   { return s.store.Close() }

// A frame is frameMagic, whose last byte is the version of the format, 16 bytes
// of checksum, and the value.
const (
	frameMagic = "lgv\x01"
	frameSum   = 16
	frameBytes = len(frameMagic) + frameSum
)

// frame returns value as it is stored under key.
func frame(key Key, value []byte) []byte {
	framed := make([]byte, 0, frameBytes+len(value))
	framed = append(framed, frameMagic...)
	framed = append(framed, checksum(key, value)...)
	return append(framed, value...)
}

// unframe returns the value that was framed for key, and false for anything else.
// The value shares the memory of framed.
func unframe(key Key, framed []byte) ([]byte, bool) {
	if len(framed) < frameBytes || string(framed[:len(frameMagic)]) != frameMagic {
		return nil, false
	}
	value := framed[frameBytes:]
	if !bytes.Equal(framed[len(frameMagic):frameBytes], checksum(key, value)) {
		return nil, false
	}
	return value, true
}

// checksum is over key and value, each with its length before it, so that no
// byte can pass from one to the next unseen.
func checksum(key Key, value []byte) []byte {
	h := sha256.New()
	var n [4]byte
	for _, part := range []string{frameMagic, string(key.Kind), key.ID} {
		h.Write(binary.BigEndian.AppendUint32(n[:0], uint32(len(part))))
		h.Write([]byte(part))
	}
	h.Write(value)
	return h.Sum(nil)[:frameSum]
}
