package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Default returns the configuration of a working development server on
// http://localhost:8080. It is Config{}.WithDefaults().
func Default() Config { return Config{}.WithDefaults() }

// WithDefaults returns a copy of c in which every field that is zero, and has a
// default, has it. It does not change what c shares with other copies.
func (c Config) WithDefaults() Config {
	c.fillFixed()
	c.fillDerived()
	return c
}

// fillFixed fills the defaults that depend on nothing. Load starts from them, so
// that what a file says explicitly, a 0 too, is never taken for "not said".
func (c *Config) fillFixed() {
	fill(&c.Issuer, "http://localhost:8080")
	fill(&c.DataDir, "lettergate-data")
	fill(&c.Storage.URL, "sqlite:lettergate.db")

	fill(&c.Verification.Digits, 6)
	fill(&c.Verification.Lifetime, minutes(10))
	fill(&c.Limits.TriesPerVerification, 5)
	fill(&c.Limits.TriesPerAccount, 10)
	fill(&c.Limits.TriesPerKnownAccount, 20)
	fill(&c.Limits.TriesPerSource, 20)

	fill(&c.Passwords.MinLength, 8)
	fill(&c.Passwords.MaxLength, 32)
	fill(&c.Passwords.Memory, 19<<10)
	fill(&c.Passwords.Iterations, 2)
	fill(&c.Passwords.Parallelism, 1)
	fill(&c.Passwords.Concurrent, 4)

	fill(&c.Tokens.Code, minutes(1))
	fill(&c.Tokens.AccessToken, minutes(10))
	fill(&c.Tokens.IDToken, minutes(10))
	fill(&c.Tokens.RefreshIdle, days(30))
	fill(&c.Tokens.RefreshMax, days(90))
	fill(&c.Tokens.RefreshGrace, minutes(1))

	fill(&c.Sessions.Idle, minutes(12*60))
	fill(&c.Sessions.Max, days(30))
	fill(&c.Keys.RotateEvery, days(90))
	fill(&c.Keys.JWKSMaxAge, minutes(5))
	fill(&c.Pages.Name, "Lettergate")
}

// fillDerived fills the defaults that follow from other fields.
func (c *Config) fillDerived() {
	c.Mail.fillPreset()
	if !c.published() && c.Loopback() {
		fill(&c.Limits.Profile, ProfileDevelopment)
		fill(&c.Mail.From, "Lettergate <no-reply@localhost>")
		fill(&c.Listen, listenAddress(c.Issuer))
	}
	fill(&c.Limits.Profile, ProfileProduction)
	fill(&c.Listen, "localhost:8080")
	if c.Mail.Host != "" {
		c.Mail.fill()
	}
	c.Clients = slices.Clone(c.Clients)
	for i := range c.Clients {
		c.Clients[i].fill(c.Issuer)
	}
}

// fill puts value into a field that is zero.
func fill[T comparable](field *T, value T) { *field = cmp.Or(*field, value) }

func minutes(n int) Duration { return Duration(time.Duration(n) * time.Minute) }

func days(n int) Duration { return Duration(time.Duration(n) * day) }

// Loopback reports whether the issuer is on a loopback host: localhost, 127.0.0.0/8
// or [::1]. Only there can it be http.
func (c Config) Loopback() bool {
	u, err := url.Parse(c.Issuer)
	return err == nil && loopbackHost(u.Hostname())
}

// published reports whether the issuer is https, so that people and programs on
// other machines are meant to use it.
func (c Config) published() bool { return strings.HasPrefix(c.Issuer, "https:") }

// Development reports whether the development profile is on.
func (c Config) Development() bool { return c.Limits.Profile == ProfileDevelopment }

// loopbackHost reports whether a host (without port or brackets) is this machine
// by name or address. Names below localhost are not: resolvers disagree on them.
func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() && !addr.Is4In6() && addr.Zone() == ""
}

// listenAddress returns the host:port that an http issuer points at.
func listenAddress(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))
}
