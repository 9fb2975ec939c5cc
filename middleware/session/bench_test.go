package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/lettergate/lettergate/middleware/session"
)

// BenchmarkRequire is what a request of somebody who is signed in costs.
func BenchmarkRequire(b *testing.B) {
	for name, store := range stores() {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			s := w.app(keptIn(store()))
			browser := w.browser()
			browser.signIn()
			cookie, value := browser.sessionCookie()
			r := httptest.NewRequest("GET", "/", nil)
			r.AddCookie(&http.Cookie{Name: cookie, Value: value})
			ran := 0
			h := s.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if _, ok := session.User(r.Context()); ok {
					ran++
				}
			}))
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
			if ran != b.N {
				b.Errorf("the handler ran %d times of %d", ran, b.N)
			}
		})
	}
}
