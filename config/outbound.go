package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// checkKeyURI accepts where a client's keys may be published. Whether http is allowed
// there depends on more than the URI; [Config.checkPlainKeyURIs] looks at that.
func checkKeyURI(value string) string {
	u, why := parseURI(value)
	switch {
	case why != "":
		return why
	case u.Scheme != "https" && u.Scheme != "http":
		return "use https"
	case u.Scheme == "http" && !loopbackHost(u.Hostname()):
		u.Scheme = "https" // so that checkAuthority looks at the rest
	}
	return checkAuthority(u)
}

// checkHostPort accepts host:port as [hostPort] writes it.
func checkHostPort(value string) string {
	host, port, err := net.SplitHostPort(value)
	if err != nil || host == "" {
		return "write host:port, as in localhost:9000 or [::1]:9000"
	}
	if why := checkHost(host); why != "" {
		return why
	}
	if why := checkPort(port); why != "" {
		return why
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	if right := net.JoinHostPort(strings.ToLower(host), port); right != value {
		return "write it as " + right
	}
	return ""
}

// hostPort returns what a URL leads to as host:port.
func hostPort(u *url.URL) string {
	port := "443"
	if u.Scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), cmp.Or(u.Port(), port))
}

// checkPlainKeyURIs checks that jwks_uri is http only where outbound.insecure_allow says
// so.
func (c Config) checkPlainKeyURIs(l *faultList) {
	for i, client := range c.Clients {
		if checkKeyURI(client.JWKSURI) != "" {
			continue // absent, or said already
		}
		u, _ := parseURI(client.JWKSURI)
		if u.Scheme == "http" && !slices.Contains(c.Outbound.InsecureAllow, hostPort(u)) {
			l.add(keyPath(indexPath("clients", i), "jwks_uri"), "%s is not allowed: use https; http is for hosts that outbound.insecure_allow lists, here as %s",
				quote(client.JWKSURI), hostPort(u))
		}
	}
}

// warnOfKeyURIs warns of keys that will never be fetched.
func (c Config) warnOfKeyURIs(l *faultList) {
	for i, client := range c.Clients {
		u, why := parseURI(client.JWKSURI)
		if why != "" || slices.Contains(c.Outbound.InsecureAllow, hostPort(u)) {
			continue
		}
		addr, err := netip.ParseAddr(u.Hostname())
		addr = addr.Unmap()
		if loopbackHost(u.Hostname()) || err == nil && (addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified()) {
			l.add(keyPath(indexPath("clients", i), "jwks_uri"), "is on this machine or in its own network, where nothing is fetched, so the client cannot authenticate; publish the keys on a public address, or write them under jwks")
		}
	}
}
