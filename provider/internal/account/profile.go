package account

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/lettergate/lettergate/provider/storage"
)

// A Profile is what people say about themselves beyond what a directory keeps.
// Nothing is decided by it.
type Profile struct {
	Nickname    string `json:"nickname,omitempty"`
	Picture     string `json:"picture,omitempty"` // a URL
	Gender      string `json:"gender,omitempty"`
	Birthdate   string `json:"birthdate,omitempty"`
	Zoneinfo    string `json:"zoneinfo,omitempty"`
	Description string `json:"description,omitempty"`
}

type profileRecord struct {
	V int `json:"v"`
	Profile
}

const profileVersion = 1

func profileKey(subject string) storage.Key {
	return storage.Key{Kind: storage.Profile, ID: subject}
}

// Profile returns what the person has said, the zero Profile for nothing.
func (s *Service) Profile(ctx context.Context, subject string) (Profile, error) {
	recs, err := s.cfg.Store.Get(ctx, profileKey(subject))
	if err != nil {
		return Profile{}, fmt.Errorf("read the profile: %w", err)
	}
	return decodeProfile(recs[0])
}

func decodeProfile(r storage.Record) (Profile, error) {
	if r.IsZero() {
		return Profile{}, nil
	}
	var v profileRecord
	if err := json.Unmarshal(r.Value, &v); err != nil || v.V != profileVersion {
		return Profile{}, fmt.Errorf("read the profile: %w: format %d", storage.ErrCorrupt, v.V)
	}
	return v.Profile, nil
}

// EditProfile changes the profile.
func (s *Service) EditProfile(ctx context.Context, subject string, edit func(*Profile)) error {
	_, err := storage.Update(ctx, s.cfg.Store, profileKey(subject), func(cur storage.Record) (storage.Record, error) {
		p, err := decodeProfile(cur)
		if err != nil {
			return cur, err
		}
		before := p
		edit(&p)
		if p == before {
			return cur, storage.ErrKeep
		}
		value, err := json.Marshal(profileRecord{profileVersion, p})
		return storage.Record{Value: value}, err
	})
	if err != nil {
		return fmt.Errorf("edit the profile: %w", err)
	}
	return nil
}
