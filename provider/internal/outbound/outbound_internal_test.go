package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestPublic(t *testing.T) {
	for _, addr := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
		"172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2001:200::1", "2001:4860:4860::8888", "2606:4700:4700::1111", "2a00:1450::1", "3ffe::1",
	} {
		if !public(netip.MustParseAddr(addr)) {
			t.Errorf("%s is refused", addr)
		}
	}
	for _, addr := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.1", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1", "192.175.48.1", "198.18.0.1", "198.19.255.255",
		"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1",
		"2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "2001:db8::1", "2002:7f00:1::1", "2620:4f:8000::1", "3fff::1", "3fff:fff::1",
		"4000::1", "5f00::1", "fc00::1", "fd00::1", "fe80::1", "fec0::1", "ff02::1", "fe80::1%eth0", "2606:4700:4700::1111%eth0",
	} {
		if public(netip.MustParseAddr(addr)) {
			t.Errorf("%s is allowed", addr)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address is allowed")
	}
}

// A target counts who connects to it.
func target(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	hits := new(atomic.Int64)
	s := httptest.NewUnstartedServer(handler)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			hits.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, hits
}

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

// fetch returns the body of an answer of status 200.
func fetch(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func client(t *testing.T, cfg Config) *http.Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func host(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestAS28_OnlyPublicAddresses(t *testing.T) {
	s, hits := target(t, hello)
	_, port, err := net.SplitHostPort(host(s))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	// Another port of the same host being allowed changes nothing.
	c := client(t, Config{InsecureAllow: []string{"127.0.0.1:1", "elsewhere:" + port}})
	for _, url := range []string{
		"https://127.0.0.1:" + port, "https://localhost:" + port, "https://LOCALHOST:" + port, "https://[::1]:" + port, "https://[::ffff:127.0.0.1]:" + port,
		"https://0.0.0.0:" + port, "https://[::]:" + port, "https://127.1.2.3:" + port, "https://169.254.169.254/", "https://10.0.0.1/", "https://[fe80::1%25lo]:" + port,
		"https://[64:ff9b::7f00:1]:" + port, "https://[2002:7f00:1::]:" + port,
		"http://127.0.0.1:" + port, "http://8.8.8.8/", "ftp://127.0.0.1:" + port, "http://127.0.0.1",
	} {
		// A machine without IPv6 has another reason for not connecting.
		if body, err := fetch(t, c, url); err == nil || !errors.Is(err, ErrRefused) && !errors.Is(err, syscall.EAFNOSUPPORT) {
			t.Errorf("%s: %q, %v, want ErrRefused", url, body, err)
		}
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the refusals took %s", took)
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	if body, err := fetch(t, client(t, Config{InsecureAllow: []string{host(s)}}), s.URL); body != "hello" || err != nil {
		t.Errorf("what is allowed: %q, %v", body, err)
	}
}

// A name is judged by the address that is connected to, whatever it was before.
func TestAS28_NameThatFlips(t *testing.T) {
	s, hits := target(t, hello)
	_, port, err := net.SplitHostPort(host(s))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	resolver := resolves(t, func() []netip.Addr {
		if asked.Add(1)%2 == 1 {
			return []netip.Addr{netip.MustParseAddr("10.255.255.1")}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254")}
	})
	c := newClient(Config{}, nil, resolver)
	for range 6 {
		if body, err := fetch(t, c, "https://flips.example:"+port); !errors.Is(err, ErrRefused) {
			t.Errorf("%q, %v, want ErrRefused", body, err)
		}
	}
	if asked.Load() < 6 || hits.Load() != 0 {
		t.Errorf("%d look-ups, %d connections", asked.Load(), hits.Load())
	}
	c = newClient(Config{InsecureAllow: []string{"flips.example:" + port}}, nil, resolver)
	asked.Store(1)
	if body, err := fetch(t, c, "http://flips.example:"+port); body != "hello" || err != nil {
		t.Errorf("the name being allowed: %q, %v", body, err)
	}
}

// resolves returns a resolver whose server answers every question for an IPv4 address
// with what addrs returns.
func resolves(t *testing.T, addrs func() []netip.Addr) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				for _, a := range addrs() {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0},
						Body:   &dnsmessage.AResource{A: a.As4()},
					})
				}
			}
			if answer, err := m.Pack(); err == nil {
				server.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func TestAS28_NoRedirect(t *testing.T) {
	inner, hits := target(t, hello)
	for _, status := range []int{301, 302, 303, 307, 308} {
		outer, _ := target(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL, status) })
		// Not even to where it might have gone by itself.
		if _, err := fetch(t, client(t, Config{InsecureAllow: []string{host(outer), host(inner)}}), outer.URL); err == nil || !strings.HasPrefix(err.Error(), "30") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// A proxy would connect on our behalf, to anything.
func TestNoProxy(t *testing.T) {
	proxy, hits := target(t, hello)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	resolver := resolves(t, func() []netip.Addr { return nil })
	// That the proxy itself is no public address would not stop one that is.
	c := newClient(Config{InsecureAllow: []string{"keys.example:80", host(proxy)}}, nil, resolver)
	for _, url := range []string{"http://keys.example/", "https://keys.example/"} {
		if body, err := fetch(t, c, url); err == nil {
			t.Errorf("%s: %q", url, body)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests went to the proxy", n)
	}
}

func TestOnlyGET(t *testing.T) {
	s, hits := target(t, hello)
	c := client(t, Config{InsecureAllow: []string{host(s)}})
	for _, method := range []string{"POST", "PUT", "HEAD", "DELETE", "CONNECT"} {
		req, err := http.NewRequest(method, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do(req); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", method, err)
		}
	}
	req, err := http.NewRequest("GET", s.URL, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(req); !errors.Is(err, ErrRefused) {
		t.Errorf("a body: %v", err)
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	size := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", n)) }
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		good   bool
	}{
		"as much as can be": {size(MaxBody), true},
		"one byte more":     {size(MaxBody + 1), false},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}, false},
		"large headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 2*maxHeader))
		}, false},
		"never ends": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, false},
		"never begins": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := target(t, c.answer)
			client := client(t, Config{InsecureAllow: []string{host(s)}})
			if client.Timeout != Timeout {
				t.Fatalf("the timeout is %s", client.Timeout)
			}
			client.Timeout /= 10 // so that the test does not take as long
			begun := time.Now()
			body, err := fetch(t, client, s.URL)
			if (err == nil) != c.good || len(body) > MaxBody {
				t.Errorf("%d bytes, %v", len(body), err)
			}
			if took := time.Since(begun); took > Timeout {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// What one answer leaves, no other request brings back.
func TestNoCookies(t *testing.T) {
	var seen atomic.Int64
	s, hits := target(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(int64(len(r.Cookies()) + len(r.Header.Values("Referer")) + len(r.Header.Values("Authorization"))))
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
	})
	c := client(t, Config{InsecureAllow: []string{host(s)}})
	for range 3 {
		if _, err := fetch(t, c, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	if seen.Load() != 0 {
		t.Error("a cookie came back")
	}
	if n := hits.Load(); n != 3 {
		t.Errorf("%d connections for 3 requests: one was kept", n)
	}
}

func TestAuthorities(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	allow := []string{host(s)}
	if body, err := fetch(t, client(t, Config{InsecureAllow: allow, CAFile: file}), s.URL); body != "hello" || err != nil {
		t.Errorf("with its authority: %q, %v", body, err)
	}
	unknown := x509.UnknownAuthorityError{}
	if _, err := fetch(t, client(t, Config{InsecureAllow: allow}), s.URL); !errors.As(err, &unknown) {
		t.Errorf("without: %v", err)
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{filepath.Join(dir, "none.pem"): "outbound.ca_file: open ", empty: "outbound.ca_file: " + empty + " holds no PEM certificate"} {
		if _, err := New(Config{CAFile: file}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
