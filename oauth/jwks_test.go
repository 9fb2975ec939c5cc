package oauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// remote returns a verifier that reads the keys of m, whose clock is the one of
// the bubble.
func remote(t testing.TB, m *memoryIssuer, change func(*oauth.RemoteConfig)) *oauth.JWTVerifier {
	t.Helper()
	cfg := oauth.RemoteConfig{Issuer: issuerURL, Client: &http.Client{Transport: m}, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	keys, err := oauth.NewRemoteKeys(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return newVerifier(t, keys, time.Now)
}

func wantUnavailable(t testing.TB, v oauth.Verifier, token string) {
	t.Helper()
	if claims, err := v.Verify(t.Context(), token); claims != nil || !errors.Is(err, oauth.ErrUnavailable) || errors.Is(err, oauth.ErrInvalidToken) {
		t.Errorf("got claims %v and error %v, want ErrUnavailable", claims, err)
	}
}

func wantAsked(t testing.TB, m *memoryIssuer, want int) {
	t.Helper()
	if got := m.asked(); got != want {
		t.Errorf("the key set was asked for %d times, want %d", got, want)
	}
}

func TestNewRemoteKeysSettings(t *testing.T) {
	for _, cfg := range []oauth.RemoteConfig{
		{}, {Issuer: issuerURL, JWKSURL: issuerURL},
		{Issuer: "http://id.example"}, {Issuer: "id.example"}, {Issuer: "https://"}, {Issuer: "https://u:secret@id.example"}, {Issuer: "https://id.example?a=b"},
		{Issuer: "https://id.example?"}, {Issuer: "https://id.example#x"}, {Issuer: "ftp://id.example"}, {Issuer: "https:id.example"}, {Issuer: "http://localhost.evil.example"},
		{JWKSURL: "http://10.0.0.1/keys"}, {JWKSURL: "https://u:secret@id.example/keys"}, {JWKSURL: "file:///etc/keys"}, {JWKSURL: "https://%zz"},
		{Issuer: issuerURL, MinRefetch: -1}, {Issuer: issuerURL, MaxAge: -1}, {Issuer: issuerURL, MaxStale: -1},
	} {
		if _, err := oauth.NewRemoteKeys(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error gives a password away: %v", err)
		}
	}
	for _, cfg := range []oauth.RemoteConfig{
		{Issuer: "https://id.example/"}, {Issuer: "http://localhost:8080"}, {Issuer: "http://127.0.0.2"}, {Issuer: "http://[::1]:8080/x"}, {JWKSURL: "https://id.example/keys?v=1"},
	} {
		if _, err := oauth.NewRemoteKeys(cfg); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestKeysAreFetchedOnceAndRefreshedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, nil)
		token := key.token(t, goodClaims(time.Now()).with("exp", time.Now().Add(48*time.Hour).Unix()))
		wantAsked(t, m, 0)

		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wantAsked(t, m, 1)

		// Stale after 5 minutes: the request that finds out does not wait, even
		// though the issuer is slow now.
		m.setAnswer(slowly)
		pass(5*time.Minute + time.Second)
		start := time.Now()
		wantAccepted(t, v, token)
		if time.Since(start) != 0 {
			t.Errorf("a request waited %v for a refresh", time.Since(start))
		}
		synctest.Wait()
		wantAsked(t, m, 2)
		if m.metadataAsked != 1 {
			t.Errorf("the metadata was asked for %d times, want once", m.metadataAsked)
		}
		// The attempt ends by itself; the bubble would complain about a
		// goroutine that stays.
		pass(10 * time.Second)
	})
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

// slowly answers when the caller has given up.
func slowly(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(30 * time.Second):
		return nil, errors.New("too late")
	}
}

func TestCacheControl(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                      5 * time.Minute,
		"public":                5 * time.Minute,
		"max-age=600":           10 * time.Minute,
		"public, Max-Age=120":   2 * time.Minute,
		"max-age=0":             time.Minute,
		"max-age=-5":            time.Minute,
		"max-age=x":             time.Minute,
		"no-store":              time.Minute,
		"max-age=604800":        time.Hour,
		"max-age=9999999999999": time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			key := newKey(t, "k1", "EdDSA")
			m := &memoryIssuer{cacheControl: header}
			m.publish(key)
			v := remote(t, m, nil)
			token := key.token(t, goodClaims(time.Now()).with("exp", time.Now().Add(48*time.Hour).Unix()))
			wantAccepted(t, v, token)
			pass(want - time.Second)
			wantAccepted(t, v, token)
			synctest.Wait()
			wantAsked(t, m, 1)
			pass(time.Second)
			wantAccepted(t, v, token)
			synctest.Wait()
			wantAsked(t, m, 2)
			if t.Failed() {
				t.Logf("Cache-Control: %s", header)
			}
		})
	}
}

func TestMaxAgeSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := &memoryIssuer{cacheControl: "max-age=3600"}
		m.publish(key)
		v := remote(t, m, func(c *oauth.RemoteConfig) { c.MaxAge = 2 * time.Minute })
		token := key.token(t, goodClaims(time.Now()))
		wantAccepted(t, v, token)
		pass(2 * time.Minute)
		wantAccepted(t, v, token)
		synctest.Wait()
		wantAsked(t, m, 2)
	})
}

// A key that was withdrawn while nobody asked does not get one last request.
func TestWithdrawnKeyAfterIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := newKey(t, "old", "EdDSA"), newKey(t, "new", "EdDSA")
		m := new(memoryIssuer)
		m.publish(old)
		v := remote(t, m, nil)
		token := old.token(t, goodClaims(time.Now()).with("exp", time.Now().Add(48*time.Hour).Unix()))
		wantAccepted(t, v, token)
		m.publish(next)
		pass(10 * time.Hour)
		var wg sync.WaitGroup
		for range 10 { // nor does anybody who asks beside the first
			wg.Go(func() { wantInvalid(t, v, token) })
		}
		wg.Wait()
		wantAsked(t, m, 2)
	})
}

// With traffic it stops working when the keys are stale and the refresh is in.
func TestWithdrawnKeyUnderTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := newKey(t, "old", "EdDSA"), newKey(t, "new", "EdDSA")
		m := new(memoryIssuer)
		m.publish(old)
		v := remote(t, m, nil)
		token := old.token(t, goodClaims(time.Now()))
		wantAccepted(t, v, token)
		m.publish(next)
		pass(5 * time.Minute)
		wantAccepted(t, v, token)
		synctest.Wait()
		wantInvalid(t, v, token)
	})
}

func TestRotationIsSeenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := newKey(t, "old", "EdDSA"), newKey(t, "new", "EdDSA")
		m := new(memoryIssuer)
		m.publish(old)
		v := remote(t, m, nil)
		wantAccepted(t, v, old.token(t, goodClaims(time.Now())))
		pass(time.Minute)
		m.publish(old, next)
		wantAccepted(t, v, next.token(t, goodClaims(time.Now())))
		wantAccepted(t, v, old.token(t, goodClaims(time.Now())))
		wantAsked(t, m, 2)
	})
}

func TestRS16_IssuerDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		m.setAnswer(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		v := remote(t, m, nil)
		token := key.token(t, goodClaims(time.Now()))
		for range 100 {
			wantUnavailable(t, v, token)
		}
		wantAsked(t, m, 1) // a crowd before a closed door knocks once
		wantInvalid(t, v, key.token(t, goodClaims(time.Now()).with("iss", "other")))

		m.setAnswer(nil)
		pass(2 * time.Second)
		wantAccepted(t, v, token)
	})
}

// bad are the answers that do not bring keys. None of them may cost memory, time
// or the keys at hand.
func bad(t *testing.T) map[string]func(*http.Request) (*http.Response, error) {
	page := func(status int, header, value, body string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			rec.Header().Set(header, value)
			rec.WriteHeader(status)
			rec.WriteString(body)
			return rec.Result(), nil
		}
	}
	set, err := newKey(t, "k1", "EdDSA").public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(*http.Request) (*http.Response, error){
		"refused":            func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"slow":               slowly,
		"500":                page(500, "Content-Type", "text/plain", "oops"),
		"404 with keys":      page(404, "Content-Type", "application/json", `{"keys":[`+string(set)+`]}`),
		"redirect to http":   page(302, "Location", "http://evil.example/keys", ""),
		"redirect to https":  page(307, "Location", "https://evil.example/keys", ""),
		"HTML":               page(200, "Content-Type", "text/html", "<!doctype html><title>Sign in</title>"),
		"empty":              page(200, "Content-Type", "application/json", ""),
		"no keys member":     page(200, "Content-Type", "application/json", `{}`),
		"null":               page(200, "Content-Type", "application/json", `null`),
		"not UTF-8":          page(200, "Content-Type", "application/json", `{"keys":[`+string(set)+"],\"x\":\"\xff\"}"),
		"no keys":            page(200, "Content-Type", "application/json", `{"keys":[]}`),
		"other spelling":     page(200, "Content-Type", "application/json", `{"Keys":[`+string(set)+`]}`),
		"two lists":          page(200, "Content-Type", "application/json", `{"keys":[],"keys":[`+string(set)+`]}`),
		"only unknown kinds": page(200, "Content-Type", "application/json", `{"keys":[{"kty":"AKP","kid":"k1","alg":"ML-DSA-44","pub":"AA"},{"kty":"x"},{},1,null,"x",[]]}`),
		"cut off": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"keys":[`), broken{}))}, nil
		},
		"100 MiB": func(*http.Request) (*http.Response, error) {
			body := &flood{left: 100 << 20}
			t.Cleanup(func() {
				if read := 100<<20 - body.left; read > 1<<20 {
					t.Errorf("%d bytes of the flood were read", read)
				}
			})
			return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
		},
		"panic": func(*http.Request) (*http.Response, error) { panic("a transport with a defect") },
	}
}

type flood struct{ left int }

func (f *flood) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), f.left)
	copy(p, bytes.Repeat([]byte(" "), n))
	f.left -= n
	return n, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestRS16_BadAnswersAtStart(t *testing.T) {
	for name, answer := range bad(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := newKey(t, "k1", "EdDSA")
				m := new(memoryIssuer)
				m.publish(key)
				m.setAnswer(answer)
				v := remote(t, m, nil)
				token := key.token(t, goodClaims(time.Now()))
				start := time.Now()
				wantUnavailable(t, v, token)
				if waited := time.Since(start); waited > 10*time.Second {
					t.Errorf("the request waited %v", waited)
				}
				if m.elsewhere != 0 {
					t.Errorf("%d requests went elsewhere", m.elsewhere)
				}
			})
		})
	}
}

func TestRS16_BadAnswersLater(t *testing.T) {
	for name, answer := range bad(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := newKey(t, "k1", "EdDSA")
				m := new(memoryIssuer)
				m.publish(key)
				v := remote(t, m, nil)
				token := key.token(t, goodClaims(time.Now()).with("exp", time.Now().Add(48*time.Hour).Unix()))
				wantAccepted(t, v, token)

				m.setAnswer(answer)
				for range 23 * 15 { // 23 hours
					pass(4 * time.Minute)
					start := time.Now()
					wantAccepted(t, v, token)
					if waited := time.Since(start); waited != 0 {
						t.Errorf("the request waited %v", waited)
					}
				}
				synctest.Wait()
				// Whoever names another key cannot be judged.
				wantUnavailable(t, v, newKey(t, "k2", "EdDSA").token(t, goodClaims(time.Now())))
				// After 24 h the keys are too old to be trusted.
				pass(time.Hour)
				wantUnavailable(t, v, token)

				m.setAnswer(nil)
				pass(2 * time.Second)
				wantAccepted(t, v, token)
				if m.elsewhere != 0 {
					t.Errorf("%d requests went elsewhere", m.elsewhere)
				}
			})
		})
	}
}

// While the issuer is away it is asked at the pace of MinRefetch, not at the
// pace of the requests.
func TestRS16_OutageIsNotMadeWorse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		var log bytes.Buffer
		v := remote(t, m, func(c *oauth.RemoteConfig) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		token := key.token(t, goodClaims(time.Now()).with("exp", time.Now().Add(time.Hour).Unix()))
		wantAccepted(t, v, token)
		pass(5 * time.Minute)
		m.setAnswer(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		for range 10 * 60 {
			wantAccepted(t, v, token)
			pass(time.Second)
		}
		synctest.Wait()
		attempts := m.asked() - 1
		if m.metadataAsked-1 > attempts {
			attempts = m.metadataAsked - 1
		}
		if attempts < 15 || attempts > 20 {
			t.Errorf("%d attempts in ten minutes, want one in 30 s", attempts)
		}
		if lines := strings.Count(log.String(), "\n"); lines != attempts {
			t.Errorf("%d lines in the log for %d attempts", lines, attempts)
		}
		if strings.Contains(log.String(), token) {
			t.Error("the log has a token in it")
		}
	})
}

// The keys may have moved: after a failure the metadata is read again.
func TestKeySetMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, nil)
		wantAccepted(t, v, key.token(t, goodClaims(time.Now())))
		m.setAnswer(func(*http.Request) (*http.Response, error) { return nil, errors.New("gone") })
		pass(5 * time.Minute)
		wantAccepted(t, v, key.token(t, goodClaims(time.Now())))
		synctest.Wait()
		m.setAnswer(nil)
		pass(time.Minute)
		wantAccepted(t, v, key.token(t, goodClaims(time.Now())))
		synctest.Wait()
		if m.metadataAsked != 2 {
			t.Errorf("the metadata was read %d times, want twice", m.metadataAsked)
		}
	})
}

// A set whose keys are all useless does not replace the one at hand.
func TestRS16_SetShrinksToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		v := remote(t, m, nil)
		wantAccepted(t, v, key.token(t, goodClaims(time.Now())))
		m.publish()
		pass(time.Hour)
		wantAccepted(t, v, key.token(t, goodClaims(time.Now())))
		wantAsked(t, m, 2)
	})
}

func TestRS29_CallerLeavesWhileKeysAreFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "k1", "EdDSA")
		m := new(memoryIssuer)
		m.publish(key)
		release := make(chan struct{})
		m.setAnswer(func(r *http.Request) (*http.Response, error) {
			select {
			case <-release:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			m.setAnswer(nil)
			return m.RoundTrip(r)
		})
		v := remote(t, m, nil)
		token := key.token(t, goodClaims(time.Now()))

		// The first caller starts the request and leaves; the second stays.
		impatient, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := v.Verify(impatient, token)
			left <- err
		}()
		synctest.Wait()
		stayed := make(chan error)
		go func() {
			_, err := v.Verify(t.Context(), token)
			stayed <- err
		}()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) || errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("the caller who left got %v", err)
		}
		close(release)
		if err := <-stayed; err != nil {
			t.Errorf("the caller who stayed got %v", err)
		}
	})
}

func TestRS30_ConcurrentRotation(t *testing.T) {
	m := new(memoryIssuer)
	v := remote(t, m, func(c *oauth.RemoteConfig) { c.MinRefetch = 1 })
	var current atomic.Pointer[string]
	var using sync.RWMutex // held for reading from the choice of a token to its answer
	rotate := func(old, next signingKey) {
		m.publish(old, next)
		token := next.token(t, goodClaims(time.Now()))
		for tries := 0; ; tries++ { // published and seen before it is used, as an issuer does it
			if _, err := v.Verify(t.Context(), token); err == nil {
				break
			} else if tries == 10_000 {
				t.Errorf("the new key is not seen: %v", err)
				break
			}
		}
		current.Store(&token)
		using.Lock() // the old key's last token has been judged
		defer using.Unlock()
		m.publish(next)
	}
	key := newKey(t, "k0", "EdDSA")
	rotate(newKey(t, "before", "EdDSA"), key)
	forged := newKey(t, "k1", "EdDSA").token(t, goodClaims(time.Now()))
	unknown := newKey(t, "unknown", "EdDSA").token(t, goodClaims(time.Now()))

	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					runtime.Gosched() // nothing here blocks, and the fetch wants its turn
				}
				switch i % 8 {
				case 0:
					wantInvalid(t, v, forged)
				case 1:
					wantInvalid(t, v, unknown)
				default:
					using.RLock()
					_, err := v.Verify(t.Context(), *current.Load())
					using.RUnlock()
					if err != nil {
						t.Errorf("a good token was refused: %v", err)
					}
				}
			}
		})
	}
	for i := range 10 {
		next := newKey(t, fmt.Sprint("k", i+1), "EdDSA")
		rotate(key, next)
		key = next
	}
	close(done)
	wg.Wait()
}
