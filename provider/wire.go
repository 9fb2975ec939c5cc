package provider

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/lettergate/lettergate/provider/internal/account"
	"github.com/lettergate/lettergate/provider/internal/cloudbase"
	"github.com/lettergate/lettergate/provider/internal/consent"
	"github.com/lettergate/lettergate/provider/internal/device"
	"github.com/lettergate/lettergate/provider/internal/endpoint"
	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/internal/interact"
	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/outbound"
	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/page"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/internal/session"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/internal/web"
	"github.com/lettergate/lettergate/provider/keys"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/devbox"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// wire builds every service, each from those before it, and then the doors.
func (p *Provider) wire(deps Deps) error {
	ring, err := p.ring()
	if err != nil {
		return err
	}
	p.store = newLateStore(p.cfg, deps)
	store := storage.Scope(p.store, p.cfg.Issuer)
	p.epoch = &epochWatch{store: store, log: p.log}

	accounts := deps.Users
	if accounts == nil {
		if accounts, err = users.NewDirectory(users.Config{Store: store, Now: p.now, Logger: p.log}); err != nil {
			return err
		}
	}
	p.keys, err = keys.New(keys.Config{
		Store: store, Secrets: ring, Algorithms: endpoint.Algorithms(p.cfg),
		RotateEvery: p.cfg.Keys.RotateEvery.Std(), MaxAge: p.cfg.Keys.JWKSMaxAge.Std(),
		Now: p.now, Logger: p.log,
	})
	if err != nil {
		return err
	}
	clients, err := p.newClients()
	if err != nil {
		return err
	}
	grants := fositestore.New(fositestore.Policy{
		Code:         p.cfg.Tokens.Code.Std(),
		RefreshIdle:  p.cfg.Tokens.RefreshIdle.Std(),
		RefreshMax:   p.cfg.Tokens.RefreshMax.Std(),
		RefreshGrace: p.cfg.Tokens.RefreshGrace.Std(),
	}, p.now, store, ring, clients)

	texts, err := messages.New()
	if err != nil {
		return err
	}
	mailer, box, err := p.mailer(deps)
	if err != nil {
		return err
	}
	devices, err := device.New(device.Config{Store: store, Secrets: ring, Now: p.now})
	if err != nil {
		return err
	}
	passwords, err := p.newPasswords(store, ring, devices)
	if err != nil {
		return err
	}
	if p.consents, err = consent.New(consent.Config{Store: store, Grants: grants, Now: p.now}); err != nil {
		return err
	}
	// The outbox's handlers end sessions, which need the outbox.
	var sessions *session.Service
	signOut := func(ctx context.Context, subject string, before int64, keepGrant string) error {
		if err := sessions.EndSubject(ctx, subject, before); err != nil {
			return err
		}
		return grants.RevokeSubject(ctx, subject, before, keepGrant)
	}
	if p.outbox, err = p.newOutbox(store, ring, accounts, grants, passwords, signOut, mailer); err != nil {
		return err
	}
	sessions, err = session.New(session.Config{
		Idle: p.cfg.Sessions.Idle.Std(), Max: p.cfg.Sessions.Max.Std(), Now: p.now, Logger: p.log,
	}, session.Deps{Store: store, Secrets: ring, Outbox: p.outbox, Grants: grants})
	if err != nil {
		return err
	}
	changes, err := account.New(account.Config{
		Store: store, Users: accounts, Passwords: passwords, Consents: p.consents, Outbox: p.outbox, SignOut: signOut, Now: p.now,
	})
	if err != nil {
		return err
	}
	verifications, err := verification.New(p.verificationConfig(), verification.Deps{
		Store: store, Secrets: ring, Outbox: p.outbox, Devices: devices,
		Accounts: provenAccounts{accounts, changes},
	})
	if err != nil {
		return err
	}
	p.core, err = oauthcore.New(oauthcore.Config{
		Issuer: p.cfg.Issuer, Tokens: p.cfg.Tokens, Now: p.now, Logger: p.log,
	}, oauthcore.Deps{
		Store: store, Grants: grants, Secrets: ring, Keys: p.keys, Clients: clients, Users: accounts, Sessions: sessions, Consents: p.consents,
		Redeemer: endpoint.Redeemer{Verifications: verifications, Clients: clients}, Reused: p.reused,
	})
	if err != nil {
		return err
	}
	return p.wireDoors(services{
		store: store, accounts: accounts, verifications: verifications, sessions: sessions, passwords: passwords, devices: devices,
		changes: changes, texts: texts, ring: ring, box: box,
	})
}

// newClients prepares the registered clients, with the one client that asks others on
// their behalf.
func (p *Provider) newClients() (*oauthcore.Clients, error) {
	asks, err := outbound.New(outbound.Config{InsecureAllow: p.cfg.Outbound.InsecureAllow, CAFile: p.cfg.Outbound.CAFile})
	if err != nil {
		return nil, err
	}
	return oauthcore.NewClients(oauthcore.ClientsConfig{Issuer: p.cfg.Issuer, Outbound: asks, Now: p.now, Logger: p.log}, p.cfg.Clients)
}

// services are what the doors are made of.
type services struct {
	store         storage.Store
	accounts      users.Directory
	verifications *verification.Service
	sessions      *session.Service
	passwords     *password.Service
	devices       *device.Devices
	changes       *account.Service
	texts         *messages.Catalogue
	ring          *secrets.Ring
	box           *devbox.Box // nil when mail leaves
}

// provenAccounts are the accounts as a verification needs them.
type provenAccounts struct {
	users.Directory
	changes *account.Service
}

// Prove implements verification.Accounts.
func (a provenAccounts) Prove(ctx context.Context, u users.User) (users.User, error) {
	return a.changes.Prove(ctx, u)
}

func (p *Provider) verificationConfig() verification.Config {
	test := make(map[string]string, len(p.cfg.InsecureTestCodes))
	for _, c := range p.cfg.InsecureTestCodes {
		if address, err := mail.ParseAddress(c.Email); err == nil { // validated before
			test[address.Identity()] = c.Code.Reveal()
		}
	}
	return verification.Config{
		Digits: p.cfg.Verification.Digits, Lifetime: p.cfg.Verification.Lifetime.Std(),
		TriesPerVerification: p.cfg.Limits.TriesPerVerification,
		TriesPerAccount:      p.cfg.Limits.TriesPerAccount,
		TriesPerKnownAccount: p.cfg.Limits.TriesPerKnownAccount,
		TriesPerSource:       p.cfg.Limits.TriesPerSource,
		InsecureTestCodes:    test,
		Development:          p.cfg.Development(), Now: p.now, Logger: p.log,
	}
}

func (p *Provider) newPasswords(store storage.Store, ring *secrets.Ring, devices *device.Devices) (*password.Service, error) {
	rule := p.cfg.Passwords
	return password.New(password.Config{
		MinLength: rule.MinLength, MaxLength: rule.MaxLength, AnyCharacters: rule.AnyCharacters,
		Memory: uint32(rule.Memory), Iterations: uint32(rule.Iterations), Parallelism: uint8(rule.Parallelism), Concurrent: rule.Concurrent,
		TriesPerAccount:      p.cfg.Limits.TriesPerAccount,
		TriesPerKnownAccount: p.cfg.Limits.TriesPerKnownAccount,
		TriesPerSource:       p.cfg.Limits.TriesPerSource,
		Development:          p.cfg.Development(), Now: p.now, Logger: p.log,
	}, password.Deps{Store: store, Secrets: ring, Devices: devices})
}

// newOutbox makes the outbox with its handlers, before the services that fill it.
func (p *Provider) newOutbox(store storage.Store, ring *secrets.Ring, accounts users.Directory, grants *fositestore.Store,
	passwords *password.Service, signOutAll account.SignOut, mailer mail.Mailer) (*outbox.Outbox, error) {
	templates, err := mail.NewTemplates()
	if err != nil {
		return nil, err
	}
	sendCode, err := verification.MailHandler(verification.MailConfig{
		Store: store, Secrets: ring, Accounts: accounts, Composer: templates, Mailer: mailer,
		Issuer: p.cfg.Issuer, ProviderName: p.cfg.Pages.Name, Now: p.now,
	})
	if err != nil {
		return nil, err
	}
	signOut, err := session.SignOutHandler(store, grants)
	if err != nil {
		return nil, err
	}
	handlers, err := account.Handlers(account.FollowConfig{
		Store: store, Users: accounts, Passwords: passwords, Consents: p.consents, SignOut: signOutAll, Composer: templates, Mailer: mailer,
		Secrets: ring, Issuer: p.cfg.Issuer, ProviderName: p.cfg.Pages.Name,
	})
	if err != nil {
		return nil, err
	}
	handlers[verification.MailKind] = sendCode
	handlers[session.SignOutKind] = signOut
	return outbox.New(outbox.Config{Store: store, Now: p.now, Logger: p.log}, handlers)
}

// mailer returns what sends mail and, when that is the development mailbox, the
// mailbox too.
func (p *Provider) mailer(deps Deps) (mail.Mailer, *devbox.Box, error) {
	switch m := p.cfg.Mail; {
	case deps.Mailer != nil:
		return deps.Mailer, nil, nil
	case m.Host != "":
		server, err := mail.SMTPConfigOf(m)
		if err != nil {
			return nil, nil, err
		}
		server.Logger, server.Now = p.log, p.now
		smtp, err := mail.NewSMTP(server)
		return smtp, nil, err
	case !p.cfg.Loopback():
		return nil, nil, fmt.Errorf("mail.host is missing: an issuer that others reach has to send real mail")
	}
	box, err := devbox.New(devbox.Config{Prefix: issuerPath(p.cfg.Issuer) + "/dev/mailbox", Now: p.now})
	return box, box, err
}

// wireDoors builds the handlers and the route table.
func (p *Provider) wireDoors(s services) error {
	inbound, err := web.New(p.cfg.Issuer, p.cfg.TrustedProxies, p.log)
	if err != nil {
		return err
	}
	cookies, err := session.NewCookies(p.cfg.Issuer)
	if err != nil {
		return err
	}
	renderer, err := page.New(page.Config{Name: p.cfg.Pages.Name, Catalogue: s.texts})
	if err != nil {
		return err
	}
	machines, err := endpoint.New(endpoint.Deps{
		Config: p.cfg, Core: p.core, Verifications: s.verifications, Outbox: p.outbox, Users: s.accounts,
		Keys: p.keys, Messages: s.texts, Inbound: inbound, Now: p.now,
	})
	if err != nil {
		return err
	}
	people, err := interact.New(interact.Deps{
		Issuer: p.cfg.Issuer, Name: p.cfg.Pages.Name, Core: p.core, Verifications: s.verifications, Sessions: s.sessions,
		Cookies: cookies, Users: s.accounts, Names: s.changes, Consents: p.consents, Passwords: s.passwords, Outbox: p.outbox, Pages: renderer, Messages: s.texts, Secrets: s.ring,
		Inbound: inbound, Logger: p.log, Now: p.now,
	})
	if err != nil {
		return err
	}
	apps, err := cloudbase.New(cloudbase.Deps{
		Store: s.store, Core: p.core, Verifications: s.verifications, Passwords: s.passwords, Changes: s.changes,
		Devices: s.devices, Users: s.accounts, Outbox: p.outbox, Secrets: s.ring, Messages: s.texts, Inbound: inbound, Now: p.now,
	})
	if err != nil {
		return err
	}
	p.table = routeTable(issuerPath(p.cfg.Issuer), machines, people, apps.Routes(), p, s.box)
	p.guard = &routeGuard{
		clients: p.core.Clients(), inbound: inbound, people: people, apps: apps,
		ready: p.ready.Load, https: isHTTPS(p.cfg.Issuer),
	}
	p.routes = p.guard.router(p.table, func(route) bool { return true })
	p.root = p.guard.router(p.table, func(r route) bool { return r.atRoot })
	return nil
}

// ring makes the secrets of the deployment: those of the configuration or, on a
// loopback issuer without any, one that is kept in the data directory.
func (p *Provider) ring() (*secrets.Ring, error) {
	list := make([]secrets.Secret, 0, len(p.cfg.Secrets))
	for _, s := range p.cfg.Secrets {
		list = append(list, secrets.Secret{ID: s.ID, Value: []byte(s.Value.Reveal())})
	}
	if len(list) == 0 {
		var err error
		if p.secret, err = loadOrDrawSecret(p.cfg.DataDir); err != nil {
			return nil, err
		}
		list = append(list, secrets.Secret{ID: "generated", Value: p.secret.value})
	}
	return secrets.New(list)
}

func issuerPath(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.EscapedPath(), "/")
}

func isHTTPS(issuer string) bool { return strings.HasPrefix(issuer, "https://") }
