package provider

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/lettergate/lettergate/provider/internal/endpoint"
	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/internal/interact"
	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/page"
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
	clients := oauthcore.NewClients(p.cfg.Issuer, p.cfg.Clients)
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
	if p.outbox, err = p.newOutbox(store, ring, accounts, grants, mailer); err != nil {
		return err
	}
	verifications, err := verification.New(verification.Config{
		Digits: p.cfg.Verification.Digits, Lifetime: p.cfg.Verification.Lifetime.Std(),
		TriesPerVerification: p.cfg.Limits.TriesPerVerification,
		TriesPerAccount:      p.cfg.Limits.TriesPerAccount,
		TriesPerSource:       p.cfg.Limits.TriesPerSource,
		Development:          p.cfg.Development(), Now: p.now, Logger: p.log,
	}, verification.Deps{Store: store, Secrets: ring, Outbox: p.outbox, Accounts: accounts})
	if err != nil {
		return err
	}
	sessions, err := session.New(session.Config{
		Idle: p.cfg.Sessions.Idle.Std(), Max: p.cfg.Sessions.Max.Std(), Now: p.now, Logger: p.log,
	}, session.Deps{Store: store, Secrets: ring, Outbox: p.outbox, Grants: grants})
	if err != nil {
		return err
	}
	p.core, err = oauthcore.New(oauthcore.Config{
		Issuer: p.cfg.Issuer, Tokens: p.cfg.Tokens, Now: p.now, Logger: p.log,
	}, oauthcore.Deps{
		Grants: grants, Secrets: ring, Keys: p.keys, Clients: clients, Users: accounts, Sessions: sessions,
		Redeemer: endpoint.Redeemer{Verifications: verifications, Clients: clients},
	})
	if err != nil {
		return err
	}
	return p.wireDoors(accounts, verifications, sessions, texts, ring, box)
}

// newOutbox makes the outbox with its handlers, before the services that fill it.
func (p *Provider) newOutbox(store storage.Store, ring *secrets.Ring, accounts users.Directory, grants *fositestore.Store, mailer mail.Mailer) (*outbox.Outbox, error) {
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
	return outbox.New(outbox.Config{Store: store, Now: p.now, Logger: p.log}, map[outbox.Kind]outbox.Handler{
		verification.MailKind: sendCode,
		session.SignOutKind:   signOut,
	})
}

// mailer returns what sends mail and, when that is the development mailbox, the
// mailbox too.
func (p *Provider) mailer(deps Deps) (mail.Mailer, *devbox.Box, error) {
	switch m := p.cfg.Mail; {
	case deps.Mailer != nil:
		return deps.Mailer, nil, nil
	case m.Host != "":
		roots, err := rootCAs(m.CAFile)
		if err != nil {
			return nil, nil, err
		}
		smtp, err := mail.NewSMTP(mail.SMTPConfig{
			Host: m.Host, Port: m.Port, Security: m.Security, Username: m.Username, Password: m.Password,
			From: m.From, RootCAs: roots, InsecurePlaintext: m.InsecurePlaintext, Logger: p.log, Now: p.now,
		})
		return smtp, nil, err
	case !p.cfg.Loopback():
		return nil, nil, fmt.Errorf("mail.host is missing: an issuer that others reach has to send real mail")
	}
	box, err := devbox.New(devbox.Config{Prefix: issuerPath(p.cfg.Issuer) + "/dev/mailbox", Now: p.now})
	return box, box, err
}

// wireDoors builds the handlers and the route table.
func (p *Provider) wireDoors(accounts users.Directory, verifications *verification.Service, sessions *session.Service,
	texts *messages.Catalogue, ring *secrets.Ring, box *devbox.Box) error {
	inbound, err := web.New(p.cfg.Issuer, p.cfg.TrustedProxies, p.log)
	if err != nil {
		return err
	}
	cookies, err := session.NewCookies(p.cfg.Issuer)
	if err != nil {
		return err
	}
	renderer, err := page.New(page.Config{Name: p.cfg.Pages.Name, Catalogue: texts})
	if err != nil {
		return err
	}
	machines, err := endpoint.New(endpoint.Deps{
		Config: p.cfg, Core: p.core, Verifications: verifications, Outbox: p.outbox, Users: accounts,
		Keys: p.keys, Messages: texts, Inbound: inbound, Now: p.now,
	})
	if err != nil {
		return err
	}
	people, err := interact.New(interact.Deps{
		Issuer: p.cfg.Issuer, Name: p.cfg.Pages.Name, Core: p.core, Verifications: verifications, Sessions: sessions,
		Cookies: cookies, Users: accounts, Outbox: p.outbox, Pages: renderer, Messages: texts, Secrets: ring,
		Inbound: inbound, Logger: p.log, Now: p.now,
	})
	if err != nil {
		return err
	}
	table := routeTable(issuerPath(p.cfg.Issuer), machines, people, p, box)
	guard := &routeGuard{
		clients: p.core.Clients(), inbound: inbound, people: people,
		ready: p.ready.Load, https: isHTTPS(p.cfg.Issuer),
	}
	p.routes = guard.router(table, func(route) bool { return true })
	p.root = guard.router(table, func(r route) bool { return r.atRoot })
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

// rootCAs reads a PEM file of authorities; without a file the system's are used.
func rootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("mail.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("mail.ca_file: %s holds no PEM certificate", file)
	}
	return pool, nil
}

func issuerPath(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.EscapedPath(), "/")
}

func isHTTPS(issuer string) bool { return strings.HasPrefix(issuer, "https://") }
