package fositestore

import (
	"context"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// TestAS17_CodesAreUniform draws many codes: none comes twice, and at each place of a
// code each byte comes as often as the others.
func TestAS17_CodesAreUniform(t *testing.T) {
	const codes = 100_000
	type code [idBytes + secretBytes]byte
	ids, halves := make(map[[idBytes]byte]bool, codes), make(map[[secretBytes]byte]bool, codes)
	var counts [len(code{})][256]int
	for range codes {
		text, err := new(Unit).issueCode()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(raw) != len(code{}) {
			t.Fatalf("%d bytes, %v", len(raw), err)
		}
		ids[[idBytes]byte(raw)], halves[[secretBytes]byte(raw[idBytes:])] = true, true
		for place, b := range raw {
			counts[place][b]++
		}
	}
	if len(ids) != codes || len(halves) != codes {
		t.Errorf("of %d codes %d have an id and %d a secret of their own", codes, len(ids), len(halves))
	}
	// Chi-square with 255 degrees of freedom: 255 ± 23. A good source is beyond 440
	// once in 10^11 runs of this test.
	const expected = float64(codes) / 256
	for place, byValue := range counts {
		chi := 0.0
		for _, n := range byValue {
			chi += (float64(n) - expected) * (float64(n) - expected) / expected
		}
		if chi > 440 {
			t.Errorf("byte %d of a code: chi-square %.0f", place, chi)
		}
	}
}

// coded begins a grant with a code.
func coded(t *testing.T, s *Store) string {
	t.Helper()
	ctx, u := s.Begin(t.Context())
	code, err := u.issueCode()
	if err != nil {
		t.Fatal(err)
	}
	request := fosite.NewAuthorizeRequest()
	request.Client, request.Session = &fosite.DefaultClient{ID: "app"}, &Session{Subject: "ann"}
	if err := s.CreateAuthorizeCodeSession(ctx, code, request); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return code
}

// present shows a code as its client, and spends it if that is what is wanted.
func present(t *testing.T, s *Store, code string, spend bool) (fosite.Requester, error) {
	t.Helper()
	ctx, u := s.Begin(t.Context())
	request := fosite.NewAccessRequest(&Session{})
	request.Client = &fosite.DefaultClient{ID: "app"}
	got, err := s.GetAuthorizeCodeSession(context.WithValue(ctx, fosite.AccessRequestContextKey, request), code, nil)
	if err == nil && spend {
		if err := s.InvalidateAuthorizeCodeSession(ctx, code); err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return got, err
}

// TestPR20_WhatFositeIsTold checks the answers that fosite cannot do without: it ends a
// family by the request that comes with the error, and panics when none does; and what
// is not there must not look like a store that does not answer, nor the reverse.
func TestPR20_WhatFositeIsTold(t *testing.T) {
	now, down := time.Now(), false
	s := newStore(t, func() time.Time { return now }, func(db storage.Store) storage.Store {
		return storetest.Faulty(db, func(storetest.Op) error {
			if down {
				return storage.ErrUnavailable
			}
			return nil
		})
	})
	code := coded(t, s)
	if got, err := present(t, s, code, true); err != nil || got == nil {
		t.Fatalf("a code: %v, %v", got, err)
	}
	if got, err := present(t, s, code, false); !errors.Is(err, fosite.ErrInvalidatedAuthorizeCode) || got == nil || got.GetID() == "" {
		t.Errorf("a spent code: %v, %v", got, err)
	}
	unknown := base64.RawURLEncoding.EncodeToString(make([]byte, idBytes+secretBytes))
	for _, code := range []string{"", "x", unknown, code[:codeLength-1], code + "A"} {
		if _, err := present(t, s, code, false); !errors.Is(err, fosite.ErrNotFound) {
			t.Errorf("%q, which is no code: %v", code, err)
		}
	}

	first := family(t, s)
	last := rotate(t, s, first)
	now = now.Add(2 * grace)
	ctx, _ := s.Begin(t.Context())
	request := fosite.NewAccessRequest(&Session{})
	request.Client = &fosite.DefaultClient{ID: "app"}
	got, err := s.GetRefreshTokenSession(context.WithValue(ctx, fosite.AccessRequestContextKey, request), first, nil)
	if !errors.Is(err, fosite.ErrInactiveToken) || got == nil || got.GetID() == "" {
		t.Errorf("a rotated refresh token: %v, %v", got, err)
	}
	for _, token := range []string{"", "x", code, last[:len(last)-1]} {
		if _, err := use(t, s, token, "app"); !errors.Is(err, fosite.ErrNotFound) {
			t.Errorf("%q, which is no refresh token: %v", token, err)
		}
	}
	if _, err := s.GetAccessTokenSession(t.Context(), "", nil); !errors.Is(err, fosite.ErrNotFound) {
		t.Errorf("no access token: %v", err)
	}

	down = true
	if _, err := present(t, s, code, false); err == nil || errors.Is(err, fosite.ErrNotFound) {
		t.Errorf("a code, with a store that is away: %v", err)
	}
	if u, err := use(t, s, last, "app"); err == nil || errors.Is(err, fosite.ErrNotFound) || u.Err() == nil {
		t.Errorf("a refresh token, with a store that is away: %v", err)
	}
}
