package config

import (
	"fmt"
	"net"
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
	c.Passwords.check(&l)
	c.checkTestCodes(&l)
	c.Mail.check(&l)
	c.checkPlainKeyURIs(&l)
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
	if c.Mail.From == "" && c.Mail.Preset == "" { // with a preset the mailbox is missing, which is said there
		l.add("mail.from", "is required for an https issuer")
	}
	if c.Mail.InsecurePlaintext {
		l.add("mail.insecure_plaintext", "is refused for an https issuer; use security: starttls or ssl")
	}
	if len(c.Outbound.InsecureAllow) > 0 {
		l.add("outbound.insecure_allow", "is refused for an https issuer, which asks public addresses by https only")
	}
	if len(c.InsecureTestCodes) > 0 {
		l.add("insecure_test_codes", "is refused for an https issuer: whoever knows a code signs in as its address")
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

func (p Passwords) check(l *faultList) {
	if p.MaxLength < p.MinLength {
		l.add("passwords.max_length", "%d is less than passwords.min_length, which is %d", p.MaxLength, p.MinLength)
	}
}

func (c Config) checkTestCodes(l *faultList) {
	seen := make(map[string]int, len(c.InsecureTestCodes))
	for i, t := range c.InsecureTestCodes {
		address := strings.ToLower(t.Email)
		if first, dup := seen[address]; dup && address != "" {
			l.add(keyPath(indexPath("insecure_test_codes", i), "email"), "%s is the address of insecure_test_codes[%d] already", quote(t.Email), first)
			continue
		}
		seen[address] = i
	}
}
