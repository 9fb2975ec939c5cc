package providertest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
)

// apps is a transport that calls the handlers of origins and needs no network for
// them. Other loopback hosts it reaches over one.
type apps struct {
	mu       sync.Mutex
	handlers map[string]http.Handler
}

func (a *apps) mount(origin string, h http.Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.handlers == nil {
		a.handlers = make(map[string]http.Handler)
	}
	a.handlers[origin] = h
}

// RoundTrip implements [http.RoundTripper].
func (a *apps) RoundTrip(r *http.Request) (*http.Response, error) {
	origin := r.URL.Scheme + "://" + r.URL.Host
	a.mu.Lock()
	h, ok := a.handlers[origin]
	a.mu.Unlock()
	if !ok {
		if onThisMachine(r.URL) {
			return http.DefaultTransport.RoundTrip(r)
		}
		return nil, fmt.Errorf("providertest: nothing is mounted at %s; call Mount, or leave the test's network alone", origin)
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:4711"
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, in)
	if r.Body != nil {
		r.Body.Close()
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func onThisMachine(u *url.URL) bool {
	host := u.Hostname()
	if host == "localhost" {
		return u.Port() != ""
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() && net.JoinHostPort(host, u.Port()) != net.JoinHostPort("127.0.0.1", "1")
}

// Mount makes an app reachable at an origin, such as https://app.example, for
// Client, Transport and browsers.
func (i *Issuer) Mount(origin string, app http.Handler) { i.apps.mount(origin, app) }

// Transport reaches the issuer and what was mounted, without a network.
func (i *Issuer) Transport() http.RoundTripper { return &i.apps }

// Client returns a client with Transport and without cookies: that of an app or of
// a service.
func (i *Issuer) Client() *http.Client { return &http.Client{Transport: &i.apps} }
