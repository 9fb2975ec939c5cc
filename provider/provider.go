package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/internal/consent"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/keys"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// Deps are the collaborators that an embedding program may bring. The zero value
// of each stands for the default. Fields are added, never changed.
type Deps struct {
	// Store keeps all state. Several providers may share one. The caller closes it,
	// after Run has returned. Default: what Config.Storage names, opened by Run.
	Store storage.Store

	// Users are the accounts. Default: accounts kept in Store.
	Users users.Directory

	// Mailer sends the codes. Default: SMTP as Config.Mail says or, on a loopback
	// issuer without a mail host, the development mailbox at /dev/mailbox.
	Mailer mail.Mailer

	// Logger gets what an operator has to know. It is never given a code, token,
	// cookie or password. Default: slog.Default().
	Logger *slog.Logger

	// Now is the clock that everything is judged by. Default: time.Now.
	Now func() time.Time

	// Hooks are told what happens inside. Default: nobody is told.
	Hooks Hooks
}

// A Provider is one issuer. It is safe for concurrent use.
type Provider struct {
	cfg    config.Config
	log    *slog.Logger
	now    func() time.Time
	hooks  Hooks
	store  *lateStore
	secret *generatedSecret // nil when the configuration names its secrets
	epoch  *epochWatch
	keys   *keys.Ring
	outbox *outbox.Outbox
	core   *oauthcore.Core
	table  []route
	guard  *routeGuard
	routes http.Handler
	root   http.Handler

	consents *consent.Service // for WithdrawConsent

	running atomic.Bool
	ready   atomic.Bool
}

// New returns a provider for cfg, whose empty fields are filled with their
// defaults. It reports everything that is wrong with cfg at once (config.Faults).
// It starts nothing.
func New(cfg config.Config, deps Deps) (*Provider, error) {
	cfg = cfg.WithDefaults()
	if err := validate(cfg, deps.Mailer != nil); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	p := &Provider{cfg: cfg, log: deps.Logger, now: deps.Now, hooks: deps.Hooks}
	if err := p.wire(deps); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	return p, nil
}

// validate is cfg.Validate for a program that may bring its own mailer, and then has
// no use for the configuration's.
func validate(cfg config.Config, ownMailer bool) error {
	err := cfg.Validate()
	faults := (config.Faults)(nil)
	if !ownMailer || !errors.As(err, &faults) {
		return err
	}
	faults = slices.DeleteFunc(faults, func(f config.Fault) bool { return strings.HasPrefix(f.Path, "mail.") })
	if len(faults) == 0 {
		return nil
	}
	return faults
}

// Issuer returns the issuer's URL.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// ServeHTTP serves every route of the issuer. Before Run is ready, and after it has
// returned, the answer is 503 except for /healthz and /readyz.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.routes.ServeHTTP(w, r) }

// RootHandler serves what has to sit at the root of the issuer's origin: metadata
// documents with the issuer's path inserted (RFC 8414 section 3.1), and /auth/v1 for
// apps of the CloudBase SDK. ServeHTTP serves them too; RootHandler is for a program
// whose own mux gives the provider nothing but the issuer's path.
func (p *Provider) RootHandler() http.Handler { return p.root }

// WithdrawConsent takes back what a person has allowed a client: the account with the
// subject (users.User.Subject), the client with the id. Every token of the client that
// came of that person's sign-ins is revoked, whether or not the person was ever asked;
// the next time, they are asked again. To withdraw what was not given, or from a client
// that is gone, is no error.
//
// An error is the store's, and means that the call is to be repeated: some tokens may
// work still. Once the first of its steps is done, nothing that rests on the consent can
// be refreshed, whatever becomes of the others. Before Run is ready, WithdrawConsent
// fails.
func (p *Provider) WithdrawConsent(ctx context.Context, subject, clientID string) error {
	return p.consents.Withdraw(ctx, subject, clientID)
}

// Run opens the store if New was given none, loads the signing keys, and does the
// provider's background work until ctx is done; then it finishes what it has begun
// and returns nil. While the store cannot be reached it keeps trying; it returns
// an error when the store answers but is unfit for use. Run may be called once.
func (p *Provider) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return errors.New("provider: Run was called before")
	}
	err := p.serve(ctx)
	if closeErr := p.store.closeOwn(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close the store: %w", closeErr))
	}
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	return nil
}

// serve is Run without the end of the store.
func (p *Provider) serve(ctx context.Context) error {
	if err := p.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var jobs sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{"outbox": p.outbox.Run, "keys": p.keys.Run, "epoch": p.epoch.run} {
		jobs.Go(func() {
			if err := run(working); err != nil && working.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	p.ready.Store(true)
	p.log.Info("ready", "issuer", p.cfg.Issuer)
	<-working.Done()
	p.ready.Store(false)
	jobs.Wait()
	if ctx.Err() != nil {
		return nil // asked to end, for whatever reason
	}
	return context.Cause(working)
}

// open makes everything ready that needs the disk or the network.
func (p *Provider) open(ctx context.Context) error {
	if p.secret != nil {
		if err := p.secret.keep(); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"open the store", p.store.open},
		{"try the store", p.probe},
		{"look whose the store is", p.epoch.look},
		{"load the signing keys", p.keys.Load},
	} {
		if err := p.persist(ctx, step.what, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// probe tries every operation on the store, so that one which cannot work is found
// before a person needs it.
func (p *Provider) probe(ctx context.Context) error {
	return storage.Probe(ctx, p.store, p.now())
}

// persist repeats a step as long as it fails for want of something that may come
// back.
func (p *Provider) persist(ctx context.Context, what string, do func(context.Context) error) error {
	pause := 100 * time.Millisecond
	for {
		err := do(ctx)
		if err == nil || !errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		p.log.Warn("not ready yet, trying again", "step", what, "err", err, "pause", pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, 5*time.Second)
	}
}
