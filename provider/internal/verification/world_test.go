package verification_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/device"
	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/users"
)

const (
	issuer   = "https://id.example"
	client   = "app"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
)

var (
	browser = []byte("a browser's 32 byte secret.....!")
	home    = netip.MustParseAddr("192.0.2.1")
)

// clock stands still until it is told otherwise.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// A world is a Service with everything real around it: store, accounts, outbox,
// templates; and an inbox at the end.
type world struct {
	*testing.T
	*verification.Service
	clock *clock
	path  string
	store storage.Store
	ring  *secrets.Ring
	users users.Directory
	out   *outbox.Outbox
	inbox *mailtest.Inbox
	cfg   verification.Config

	places int // see elsewhere
}

type setup struct {
	cfg  verification.Config
	wrap func(storage.Store) storage.Store // what the service sees of the store
	ring *secrets.Ring
}

func secret(id string) secrets.Secret {
	return secrets.Secret{ID: id, Value: []byte(strings.Repeat(id, 32))}
}

func newRing(t testing.TB, list ...secrets.Secret) *secrets.Ring {
	t.Helper()
	ring, err := secrets.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	w := &world{
		T:     t,
		clock: &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		path:  filepath.Join(t.TempDir(), "test.db"),
		inbox: mailtest.New(),
		ring:  s.ring,
		cfg:   s.cfg,
	}
	if w.ring == nil {
		w.ring = newRing(t, secret("a"))
	}
	raw := must(sqlstore.Open(t.Context(), sqlstore.Config{Path: w.path, Now: w.clock.Now}))(t)
	t.Cleanup(func() { raw.Close() })
	w.store = storage.Scope(raw, issuer)
	served := w.store
	if s.wrap != nil {
		served = s.wrap(w.store)
	}
	w.users = w.directory(served)
	w.out = w.newOutbox(served)
	w.run(w.out)
	w.Service = w.newService(served)
	return w
}

func (w *world) newService(store storage.Store) *verification.Service {
	w.Helper()
	w.cfg.Now = w.clock.Now
	return must(verification.New(w.cfg, w.deps(store, w.out)))(w)
}

func (w *world) deps(store storage.Store, jobs verification.Jobs) verification.Deps {
	w.Helper()
	return verification.Deps{
		Store: store, Secrets: w.ring, Outbox: jobs, Accounts: proving{w.users},
		Devices: must(device.New(device.Config{Store: store, Secrets: w.ring, Now: w.clock.Now}))(w),
	}
}

// proving is a directory whose accounts have nothing attached.
type proving struct{ users.Directory }

func (p proving) Prove(ctx context.Context, u users.User) (users.User, error) {
	u.EmailVerified = true
	return p.Update(ctx, u)
}

func (w *world) directory(store storage.Store) users.Directory {
	w.Helper()
	return must(users.NewDirectory(users.Config{Store: store, Now: w.clock.Now}))(w)
}

// newOutbox is the outbox of one process, not running yet.
func (w *world) newOutbox(store storage.Store) *outbox.Outbox {
	w.Helper()
	return must(outbox.New(outbox.Config{Store: store, Now: w.clock.Now, Poll: 20 * time.Millisecond},
		map[outbox.Kind]outbox.Handler{verification.MailKind: w.mailHandler(store)}))(w)
}

func (w *world) mailHandler(store storage.Store) outbox.Handler {
	w.Helper()
	return must(verification.MailHandler(verification.MailConfig{
		Store: store, Secrets: w.ring, Accounts: w.users,
		Composer: must(mail.NewTemplates())(w), Mailer: w.inbox,
		Issuer: issuer, ProviderName: "Example ID", Now: w.clock.Now,
	}))(w)
}

func (w *world) run(o *outbox.Outbox) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	done := make(chan struct{})
	go func() { defer close(done); _ = o.Run(ctx) }()
	w.Cleanup(func() { cancel(); <-done })
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	return must(mail.ParseAddress(s))(t)
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// started is a verification with the code that was mailed for it.
type started struct {
	verification.Started
	Code string
}

// elsewhere is a network that nothing has come from before.
func (w *world) elsewhere() netip.Addr {
	w.places++
	return netip.AddrFrom4([4]byte{198, 18, byte(w.places >> 8), byte(w.places)})
}

// start starts a verification for the client, from anywhere, and waits for its mail.
func (w *world) start(email string, change ...func(*verification.Request)) started {
	w.Helper()
	r := verification.Request{ClientID: client, ClientName: "The App", Email: address(w, email), Source: w.elsewhere()}
	for _, c := range change {
		c(&r)
	}
	s, ticket, err := w.Start(w.Context(), r)
	if err != nil {
		w.Fatal(err)
	}
	w.out.Dispatch(ticket)
	return started{s, w.code(email)}
}

func inBrowser(r *verification.Request) { r.Browser = browser }

func (w *world) code(email string) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	return must(w.inbox.Code(ctx, email))(w)
}

// try is a try of the right client with the right code.
func (s started) try() verification.Try {
	return verification.Try{Handle: s.Handle, ClientID: client, Code: s.Code, AllowSignUp: true, Source: home}
}

// page is try in the browser that started.
func (s started) page() verification.Try {
	t := s.try()
	t.Handle, t.ID, t.Browser = "", s.ID, browser
	return t
}

// wrong returns the try with another code of the same length, the n-th of many.
func wrong(t verification.Try, n int) verification.Try {
	var v int
	fmt.Sscan(t.Code, &v)
	mod := 1
	for range len(t.Code) {
		mod *= 10
	}
	t.Code = fmt.Sprintf("%0*d", len(t.Code), (v+1+n)%mod)
	return t
}

// anywhere returns the try from the n-th of many networks, so that no source is
// over its limit.
func anywhere(t verification.Try, n int) verification.Try {
	t.Source = netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	return t
}

func (w *world) wins(t verification.Try) verification.Proof {
	w.Helper()
	return must(w.Redeem(w.Context(), t))(w)
}

func (w *world) fails(t verification.Try, want error) {
	w.Helper()
	if p, err := w.Redeem(w.Context(), t); !errors.Is(err, want) || err.Error() != want.Error() {
		w.Fatalf("Redeem = %v, %v; want %v", p.ID, err, want)
	}
}

func (w *world) refused(t verification.Try) {
	w.Helper()
	w.fails(t, verification.ErrInvalid)
}
