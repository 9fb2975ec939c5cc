package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// faultList collects faults of fields that are right each for itself.
type faultList struct{ faults Faults }

func (l *faultList) add(path, format string, args ...any) {
	l.faults = append(l.faults, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// crossFaults checks fields against each other.
func (c Config) crossFaults() Faults {
	var l faultList
	if checkIssuer(c.Issuer) == "" {
		if c.published() {
			c.checkPublished(&l)
		} else {
			c.checkDevelopment(&l)
		}
	}
	c.checkStorage(&l)
	c.checkSecrets(&l)
	c.checkLives(&l)
	c.Mail.check(&l)
	seen := make(map[string]int, len(c.Clients))
	for i, client := range c.Clients {
		path := indexPath("clients", i)
		if first, dup := seen[client.ID]; dup && client.ID != "" {
			l.add(keyPath(path, "client_id"), "%s is the id of clients[%d] already", quote(client.ID), first)
		} else {
			seen[client.ID] = i
		}
		client.check(&l, path)
	}
	return l.faults
}

// checkDevelopment checks what even an http issuer cannot do.
func (c Config) checkDevelopment(l *faultList) {
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && !loopbackHost(host) && !c.InsecureListen {
		l.add("listen", "lets other machines read the mails of an http issuer; use localhost:PORT, or an https issuer (insecure_listen: true is for a container)")
	}
	if c.Mail.InsecurePlaintext && c.Mail.Host != "" && !loopbackHost(c.Mail.Host) {
		l.add("mail.insecure_plaintext", "sends codes in clear to another machine; use security: starttls or ssl, or a host on this machine")
	}
}

// checkPublished checks what an https issuer has to have.
func (c Config) checkPublished(l *faultList) {
	if c.InsecureListen {
		l.add("insecure_listen", "is refused for an https issuer, which may listen anywhere")
	}
	if len(c.Secrets) == 0 {
		l.add("secrets", "at least one is required for an https issuer: write its id and value here, or set LETTERGATE_SECRETS_0_ID and %s; make a value with: openssl rand -base64 48",
			variablesOf("secrets[0].value"))
	}
	for i, s := range c.Secrets {
		if repetitive(s.Value) {
			l.add(keyPath(indexPath("secrets", i), "value"), "is not random; make one with: openssl rand -base64 48")
		}
	}
	for i, client := range c.Clients {
		for j, s := range client.Secrets {
			if repetitive(s) {
				l.add(indexPath(keyPath(indexPath("clients", i), "client_secrets"), j), "is not random; make one with: openssl rand -base64 48")
			}
		}
	}
	if c.Mail.Host == "" {
		l.add("mail.host", "is required for an https issuer: sign-in codes leave by mail")
	}
	if c.Mail.From == "" {
		l.add("mail.from", "is required for an https issuer")
	}
	if c.Mail.InsecurePlaintext {
		l.add("mail.insecure_plaintext", "is refused for an https issuer; use security: starttls or ssl")
	}
	if c.Limits.Profile == ProfileDevelopment {
		l.add("limits.profile", "development is refused for an https issuer; use production")
	}
}

// repetitive reports whether a secret is a shorter text over and over, as fillers
// are. What was drawn at random never is.
func repetitive(s Secret) bool {
	text := s.Reveal()
	for n := 1; n <= len(text)/2; n++ {
		if strings.HasPrefix(text, text[n:]) {
			return true
		}
	}
	return false
}

func (c Config) checkSecrets(l *faultList) {
	for i, s := range c.Secrets {
		path := indexPath("secrets", i)
		for j, other := range c.Secrets[:i] {
			if s.ID != "" && s.ID == other.ID {
				l.add(keyPath(path, "id"), "is the id of secrets[%d] already; never use one for two values", j)
			}
			if s.Value != "" && s.Value == other.Value {
				l.add(keyPath(path, "value"), "is the value of secrets[%d] already", j)
			}
		}
	}
}

func (c Config) checkLives(l *faultList) {
	if c.Tokens.RefreshIdle > c.Tokens.RefreshMax {
		l.add("tokens.refresh_idle", "%s is longer than tokens.refresh_max, which is %s", c.Tokens.RefreshIdle, c.Tokens.RefreshMax)
	}
	if c.Sessions.Idle > c.Sessions.Max {
		l.add("sessions.idle", "%s is longer than sessions.max, which is %s", c.Sessions.Idle, c.Sessions.Max)
	}
	// The next key is published for as long as clients may cache before it signs.
	if every := c.Keys.RotateEvery; every > 0 && every < 2*c.Keys.JWKSMaxAge {
		l.add("keys.rotate_every", "must be 0s (never) or at least twice keys.jwks_max_age, which is %s", c.Keys.JWKSMaxAge)
	}
}

func (m Mail) check(l *faultList) {
	if m.InsecurePlaintext && m.Security != "" {
		l.add("mail.security", "%s and insecure_plaintext exclude each other; leave one out", m.Security)
	}
	if m.Username == "" && m.Password != "" {
		l.add("mail.username", "is required with a password")
	}
	if m.Username != "" && m.Password == "" {
		l.add("mail.password", "is required with a username; write it here, or set %s", variablesOf("mail.password"))
	}
}

func (c Client) check(l *faultList, path string) {
	method := keyPath(path, "token_endpoint_auth_method")
	switch {
	case c.Public() && len(c.Secrets) > 0:
		l.add(method, "none does not go with client_secrets; use %s, or leave the secrets out", AuthMethodBasic)
	case !c.Public() && len(c.Secrets) == 0:
		secret := indexPath(keyPath(path, "client_secrets"), 0)
		l.add(method, "%s needs client_secrets; write them here, or set %s", quote(c.AuthMethod()), variablesOf(secret))
	}
	if c.Public() && c.Allows(GrantClientCredentials) {
		l.add(keyPath(path, "grant_types"), "client_credentials needs a client with client_secrets: a public client could be anybody")
	}
	if c.Public() && c.PKCE == PKCEOptional {
		l.add(keyPath(path, "pkce"), "optional is for clients with client_secrets only; use required")
	}
	if c.Allows(GrantAuthorizationCode) && len(c.RedirectURIs) == 0 {
		l.add(keyPath(path, "redirect_uris"), "at least one is required for the grant type authorization_code")
	}
	if i := slices.Index(c.Scopes, "offline_access"); i >= 0 && !c.Allows(GrantRefreshToken) {
		l.add(indexPath(keyPath(path, "scopes"), i), "offline_access asks for refresh tokens, which the client may not use; add %s to its grant_types, or leave the scope out", GrantRefreshToken)
	}
	for i, s := range c.Secrets {
		if s != "" && slices.Contains(c.Secrets[:i], s) {
			l.add(indexPath(keyPath(path, "client_secrets"), i), "is listed already")
		}
	}
}
