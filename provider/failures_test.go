package provider_test

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// panicHeader says how the handler of a request is to panic: at its beginning, with its
// answer prepared, its status sent, so many bytes of its body, or a body without status.
const panicHeader = "X-Panic"

// secretValue is what a panic might hold.
const secretValue = "code 271828 of ann@example.com"

// panicky makes handlers that panic when they are told to.
func panicky(own http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		how := r.Header.Get(panicHeader)
		if how == "" {
			own(w, r)
			return
		}
		if how != "at once" {
			for name, value := range map[string]string{
				"Content-Length": "3", "Content-Type": "image/png", "Cache-Control": "public, max-age=300", "ETag": `"x"`, "Location": "https://evil.example/", "Content-Encoding": "gzip",
			} {
				w.Header().Set(name, value)
			}
		}
		switch how {
		case "at once", "prepared":
		case "informed":
			w.WriteHeader(http.StatusEarlyHints)
		case "body":
			w.Header().Del("Content-Length")
			io.WriteString(w, "whole")
		default:
			n, err := strconv.Atoi(how)
			if err != nil {
				panic(err)
			}
			w.Header().Set("Content-Length", strconv.Itoa(n+1))
			w.Header().Del("Content-Encoding")
			w.WriteHeader(http.StatusOK)
			io.WriteString(w, strings.Repeat("x", n))
		}
		panic(secretValue)
	}
}

// connections counts those that a server has open.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(c.open, conn)
	} else {
		c.open[conn] = true
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// TestFT45_PanicInEveryHandler: a 500 in the row's own form, logged once and without the
// panic's value; or a cut connection when something was sent already. The next request
// is served, and no connection stays behind.
func TestFT45_PanicInEveryHandler(t *testing.T) {
	for _, opts := range []options{{}, {path: "/id", devbox: true}} {
		written, complaints := &syncLog{}, &syncLog{}
		opts.direct, opts.log = true, written
		s := start(t, opts)
		open := &connections{open: map[net.Conn]bool{}}
		front := httptest.NewUnstartedServer(provider.Rehandled(s.provider, panicky))
		front.Config.ConnState, front.Config.ErrorLog = open.note, log.New(io.MultiWriter(complaints, os.Stderr), "", 0)
		front.Start()
		t.Cleanup(front.Close)
		client := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		ask := func(method, path, how string) (answer, error) {
			in, err := http.NewRequest(method, front.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			in.Close = how != "" // so that none is sent again
			if how != "" {
				in.Header.Set(panicHeader, how)
			}
			resp, err := client.Do(in)
			if err != nil {
				return answer{}, err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return answer{resp.StatusCode, resp.Header, string(body)}, err
		}
		for _, row := range provider.Rows(s.provider) {
			for _, method := range row.Methods {
				what := method + " " + row.Path
				for _, how := range []string{"at once", "prepared", "informed"} {
					a, err := ask(method, row.Path, how)
					if err != nil || a.status != http.StatusInternalServerError {
						t.Fatalf("%s, %s: %d %v", what, how, a.status, err)
					}
					a.isFailure(t, row, what+", "+how, written)
				}
				for _, how := range []string{"0", "1", "100000", "body"} {
					before := strings.Count(written.String(), "level=ERROR")
					if a, err := ask(method, row.Path, how); err == nil {
						t.Errorf("%s: cut after %s, the answer looks complete: %d with %d bytes", what, how, a.status, len(a.body))
					}
					if n := strings.Count(written.String(), "level=ERROR") - before; n != 1 {
						t.Errorf("%s: cut after %s was logged %d times", what, how, n)
					}
				}
				if a, err := ask(method, row.Path, ""); err != nil || a.status >= 500 {
					t.Errorf("%s: the next request: %d %v", what, a.status, err)
				}
			}
		}
		client.CloseIdleConnections()
		within(t, 10*time.Second, "all connections are closed", func() bool { return open.count() == 0 })
		if text := written.String(); strings.Contains(text, secretValue) || !strings.Contains(text, "panicky") {
			t.Error("the log has the value of a panic, or not where it was")
		}
		if complaints.String() != "" {
			t.Errorf("the server says %s", complaints)
		}
	}
}

// TestAS67_StoreFailsAtEveryRoute lets the store be away from each call of a good request
// on.
func TestAS67_StoreFailsAtEveryRoute(t *testing.T) {
	f, written := &fault{}, &syncLog{}
	s := start(t, options{direct: true, log: written, store: func(db storage.Store) storage.Store {
		return requestsOnly{db, storetest.Faulty(db, f.fail)}
	}})
	s.walk(func(t *testing.T, row provider.Row, method string, fl flow) {
		for call := 1; ; call++ {
			ask := fl.prepare(s, addressFor(method, row.Path, call))
			f.arm(call, true, errHostile)
			a := ask()
			calls, _ := f.disarm()
			what := "the store is away from call " + strconv.Itoa(call)
			if a.status >= 500 {
				if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" && !row.Early {
					t.Errorf("%s: %d %v", what, a.status, a.header)
				}
				if !row.Early { // whose answer is what there is to say
					a.isFailure(t, row, what, written)
				}
			} else if a.keepsTo(t, row, what); a.status != fl.ok {
				t.Errorf("%s: %d %.300s", what, a.status, a.body)
			}
			if calls < call {
				break
			}
		}
	})
}

// TestAS67_StorePanicsAtEveryRoute: the same for a store with a fault of its own, which
// panics at each call in turn, also at one that is made beside the request.
func TestAS67_StorePanicsAtEveryRoute(t *testing.T) {
	var at atomic.Int64
	written := &syncLog{}
	s := start(t, options{direct: true, log: written, store: func(db storage.Store) storage.Store { return requestsOnly{db, panicking{db, &at}} }})
	s.walk(func(t *testing.T, row provider.Row, method string, fl flow) {
		for call := 1; ; call++ {
			at.Store(-1)
			ask := fl.prepare(s, addressFor(method, row.Path, call))
			at.Store(int64(call))
			a := ask()
			panicked := at.Load() <= 0
			what := "a panic at call " + strconv.Itoa(call)
			if a.status >= 500 {
				a.isFailure(t, row, what, written)
			} else if a.keepsTo(t, row, what); a.status != fl.ok {
				t.Errorf("%s: %d %.300s", what, a.status, a.body)
			}
			if !panicked {
				break
			}
		}
	})
	if strings.Contains(written.String(), hostileText) {
		t.Error("the log has the value of a panic")
	}
}

// TestAS67_PagesThatCannotBeRendered: without their texts pages become the error page,
// and without that a line of text. What leads on leads on.
func TestAS67_PagesThatCannotBeRendered(t *testing.T) {
	raw, err := os.ReadFile("internal/messages/en.json")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	if err := json.Unmarshal(raw, &texts); err != nil {
		t.Fatal(err)
	}
	for name, kept := range map[string]string{"pages": "page.error.", "error page": "page.client."} {
		few := map[string]string{}
		for id, text := range texts {
			if strings.HasPrefix(id, kept) {
				few[id] = text
			}
		}
		t.Run(name, func(t *testing.T) {
			written := &syncLog{}
			s := start(t, options{direct: true, log: written})
			failed := 0
			s.walk(func(t *testing.T, row provider.Row, method string, fl flow) {
				ask := fl.prepare(s, addressFor(method, row.Path, 0))
				restore, err := provider.BreakPages(s.provider, few)
				if err != nil {
					t.Fatal(err)
				}
				a := ask()
				restore()
				if !row.Person || fl.ok != http.StatusOK {
					if a.keepsTo(t, row, "no texts"); a.status != fl.ok {
						t.Errorf("%d %.300s", a.status, a.body)
					}
					return
				}
				failed++
				if a.status != http.StatusInternalServerError {
					t.Errorf("%d %.300s", a.status, a.body)
				}
				a.isFailure(t, row, "no texts", written)
				if again := fl.prepare(s, addressFor(method, row.Path, 1))(); again.status != fl.ok {
					t.Errorf("the next request: %d %.300s", again.status, again.body)
				}
			})
			if failed < 6 {
				t.Errorf("only %d pages failed", failed)
			}
		})
	}
}
