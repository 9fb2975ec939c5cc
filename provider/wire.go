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
	var s services
	if err := p.wireState(&s, deps); err != nil {
		return err
	}
	if err := p.wireProofs(&s); err != nil {
		return err
	}
	if err := p.wireSignOut(&s, deps); err != nil {
		return err
	}
	if err := p.wireCore(&s); err != nil {
		return err
	}
	return p.wireDoors(&s)
}

// services are what the doors are made of, beside what the Provider itself goes on
// using.
type services struct {
	ring          *secrets.Ring
	store         storage.Store // the issuer's part of it
	accounts      users.Directory
	clients       *oauthcore.Clients
	grants        *fositestore.Store
	devices       *device.Devices
	passwords     *password.Service
	mailer        mail.Mailer
	box           *devbox.Box // nil when mail leaves
	sessions      *session.Service
	changes       *account.Service
	verifications *verification.Service
	texts         *messages.Catalogue
}

// wireState builds what keeps things: accounts, keys, clients, grants.
func (p *Provider) wireState(s *services, deps Deps) (err error) {
	if s.ring, err = p.ring(); err != nil {
		return err
	}
	p.store = newLateStore(p.cfg, deps)
	s.store = storage.Scope(p.store, p.cfg.Issuer)
	p.epoch = &epochWatch{store: s.store, log: p.log}
	if s.accounts = deps.Users; s.accounts == nil {
		if s.accounts, err = users.NewDirectory(users.Config{Store: s.store, Now: p.now, Logger: p.log}); err != nil {
			return err
		}
	}
	p.keys, err = keys.New(keys.Config{
		Store: s.store, Secrets: s.ring, Algorithms: endpoint.Algorithms(p.cfg),
		RotateEvery: p.cfg.Keys.RotateEvery.Std(), MaxAge: p.cfg.Keys.JWKSMaxAge.Std(),
		Now: p.now, Logger: p.log,
	})
	if err != nil {
		return err
	}
	if s.clients, err = p.newClients(); err != nil {
		return err
	}
	s.grants = fositestore.New(fositestore.Policy{
		Code:         p.cfg.Tokens.Code.Std(),
		RefreshIdle:  p.cfg.Tokens.RefreshIdle.Std(),
		RefreshMax:   p.cfg.Tokens.RefreshMax.Std(),
		RefreshGrace: p.cfg.Tokens.RefreshGrace.Std(),
	}, p.now, s.store, s.ring, s.clients)
	return nil
}

// wireProofs builds what is known of a person besides the account: devices, passwords,
// consents.
func (p *Provider) wireProofs(s *services) (err error) {
	if s.devices, err = device.New(device.Config{Store: s.store, Secrets: s.ring, Now: p.now}); err != nil {
		return err
	}
	if s.passwords, err = p.newPasswords(s); err != nil {
		return err
	}
	p.consents, err = consent.New(consent.Config{Store: s.store, Grants: s.grants, Now: p.now})
	return err
}

// wireSignOut builds the outbox, and what ends sign-ins by it: sessions, and changes of
// an account. The outbox comes first although its handlers end sessions: they call
// signOut, which finds them later.
func (p *Provider) wireSignOut(s *services, deps Deps) (err error) {
	if s.mailer, s.box, err = p.mailer(deps); err != nil {
		return err
	}
	if p.outbox, err = p.newOutbox(s); err != nil {
		return err
	}
	s.sessions, err = session.New(session.Config{
		Idle: p.cfg.Sessions.Idle.Std(), Max: p.cfg.Sessions.Max.Std(), Now: p.now, Logger: p.log,
	}, session.Deps{Store: s.store, Secrets: s.ring, Outbox: p.outbox, Grants: s.grants})
	if err != nil {
		return err
	}
	s.changes, err = account.New(account.Config{
		Store: s.store, Users: s.accounts, Passwords: s.passwords, Consents: p.consents,
		Outbox: p.outbox, SignOut: s.signOut, Now: p.now,
	})
	return err
}

// signOut is account.SignOut.
func (s *services) signOut(ctx context.Context, subject string, before int64, keepGrant string) error {
	if err := s.sessions.EndSubject(ctx, subject, before); err != nil {
		return err
	}
	return s.grants.RevokeSubject(ctx, subject, before, keepGrant)
}

// wireCore builds the sign-in by code, and the protocol.
func (p *Provider) wireCore(s *services) (err error) {
	s.verifications, err = verification.New(p.verificationConfig(), verification.Deps{
		Store: s.store, Secrets: s.ring, Outbox: p.outbox, Devices: s.devices,
		Accounts: provenAccounts{s.accounts, s.changes},
	})
	if err != nil {
		return err
	}
	p.core, err = oauthcore.New(oauthcore.Config{
		Issuer: p.cfg.Issuer, Tokens: p.cfg.Tokens, Now: p.now, Logger: p.log,
	}, oauthcore.Deps{
		Store: s.store, Grants: s.grants, Secrets: s.ring, Keys: p.keys, Clients: s.clients, Users: s.accounts, Sessions: s.sessions, Consents: p.consents,
		Redeemer: endpoint.Redeemer{Verifications: s.verifications, Clients: s.clients}, Reused: p.reused,
	})
	return err
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

func (p *Provider) newPasswords(s *services) (*password.Service, error) {
	rule := p.cfg.Passwords
	return password.New(password.Config{
		MinLength: rule.MinLength, MaxLength: rule.MaxLength, AnyCharacters: rule.AnyCharacters,
		Memory: uint32(rule.Memory), Iterations: uint32(rule.Iterations), Parallelism: uint8(rule.Parallelism), Concurrent: rule.Concurrent,
		TriesPerAccount:      p.cfg.Limits.TriesPerAccount,
		TriesPerKnownAccount: p.cfg.Limits.TriesPerKnownAccount,
		TriesPerSource:       p.cfg.Limits.TriesPerSource,
		Development:          p.cfg.Development(), Now: p.now, Logger: p.log,
	}, password.Deps{Store: s.store, Secrets: s.ring, Devices: s.devices})
}

// newOutbox makes the outbox with its handlers, before the services that fill it.
func (p *Provider) newOutbox(s *services) (*outbox.Outbox, error) {
	templates, err := mail.NewTemplates()
	if err != nil {
		return nil, err
	}
	sendCode, err := verification.MailHandler(verification.MailConfig{
		Store: s.store, Secrets: s.ring, Accounts: s.accounts, Composer: templates, Mailer: s.mailer,
		Issuer: p.cfg.Issuer, ProviderName: p.cfg.Pages.Name, Now: p.now,
	})
	if err != nil {
		return nil, err
	}
	signOut, err := session.SignOutHandler(s.store, s.grants)
	if err != nil {
		return nil, err
	}
	handlers, err := account.Handlers(account.FollowConfig{
		Store: s.store, Users: s.accounts, Passwords: s.passwords, Consents: p.consents, SignOut: s.signOut, Composer: templates, Mailer: s.mailer,
		Secrets: s.ring, Issuer: p.cfg.Issuer, ProviderName: p.cfg.Pages.Name,
	})
	if err != nil {
		return nil, err
	}
	handlers[verification.MailKind] = sendCode
	handlers[session.SignOutKind] = signOut
	return outbox.New(outbox.Config{Store: s.store, Now: p.now, Logger: p.log}, handlers)
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
func (p *Provider) wireDoors(s *services) (err error) {
	if s.texts, err = messages.New(); err != nil {
		return err
	}
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
		Cookies: cookies, Users: s.accounts, Names: s.changes, Consents: p.consents, Passwords: s.passwords,
		Outbox: p.outbox, Pages: renderer, Messages: s.texts, Secrets: s.ring, Inbound: inbound, Logger: p.log, Now: p.now,
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
