package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// What is compared has to do its work: the good token passes, and no other.
func TestAllVerify(t *testing.T) {
	for _, alg := range algorithms {
		i, err := newIssuer(alg)
		if err != nil {
			t.Fatal(err)
		}
		defer i.close()
		i.raw(0)
		token := func(changes map[string]any) string {
			s, err := i.token(0, changes)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		good := token(nil)
		for _, p := range peers {
			t.Run(alg+"/"+p.name, func(t *testing.T) {
				ran := 0
				h, err := p.protect(i, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					h.ServeHTTP(httptest.NewRecorder(), request(good))
				}
				if ran != 2 {
					t.Error("the good token does not pass")
				}
				for name, bad := range map[string]string{
					"forged": i.forge(good), "expired": token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
					"another issuer": token(map[string]any{"iss": "https://other.example"}), "another audience": token(map[string]any{"aud": "https://other.example"}),
				} {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, request(bad))
					if w.Code != http.StatusUnauthorized || ran != 2 {
						t.Errorf("%s: %d", name, w.Code)
					}
				}
				do, err := p.prepare(i)
				if err != nil {
					t.Fatal(err)
				}
				do(0)
			})
		}
	}
}
