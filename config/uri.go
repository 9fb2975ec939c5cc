package config

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

const maxURI = 2000

var (
	// What RFC 3986 lets a URI contain. Whatever else there is, browsers and
	// libraries do not agree on what it means.
	uriText = regexp.MustCompile(`^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*$`)
	// A private-use scheme is a domain name turned round (RFC 8252 section 7.1),
	// so that it belongs to somebody.
	privateScheme = regexp.MustCompile(`^[a-z][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)+$`)
	issuerPath    = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)
)

// parseURI parses what an issuer, a redirect URI, an origin or the address of a key set
// may at most be: an absolute URI without fragment, credentials or characters that do not belong.
func parseURI(value string) (*url.URL, string) {
	if len(value) > maxURI {
		return nil, "it is longer than 2000 characters"
	}
	if !uriText.MatchString(value) {
		return nil, "it contains a character that no URI can (write international domains in their xn-- form, anything else as %XX)"
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme == "":
		return nil, "it is no absolute URI, such as https://app.example.com/callback"
	case !strings.HasPrefix(value, u.Scheme+":"):
		return nil, "write its scheme in lower case"
	case strings.Contains(value, "#"):
		return nil, "it cannot have a fragment (#)"
	case u.User != nil:
		return nil, "it cannot have a user name or password"
	}
	return u, ""
}

// checkAuthority checks the host and port of an http or https URI: https on any
// host, http on this machine's.
func checkAuthority(u *url.URL) string {
	host := u.Hostname()
	switch {
	case u.Opaque != "" || host == "":
		return "it has no host"
	case strings.HasSuffix(u.Host, ":"):
		return "leave out the : without a port"
	case u.Scheme == "http" && !loopbackHost(host):
		return "use https; http is for localhost, 127.0.0.0/8 and [::1] only"
	}
	if why := checkHost(host); why != "" {
		return why
	}
	if port := u.Port(); port != "" {
		return checkPort(port)
	}
	return ""
}

// checkCanonical checks that an http or https URI has its one spelling, because
// it will be compared letter by letter.
func checkCanonical(u *url.URL) string {
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil && addr.String() != host {
		return "write its host as " + addr.String()
	}
	switch {
	case host != strings.ToLower(host):
		return "write its host in lower case"
	case u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		return "leave out the port: it is the default"
	}
	return ""
}

func checkIssuer(value string) string {
	u, why := parseURI(value)
	if why != "" {
		return why
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return "use https, or http on a loopback host"
	}
	if why := checkAuthority(u); why != "" {
		return why
	}
	switch {
	case strings.Contains(value, "?"):
		return "it cannot have a query (?)"
	case strings.HasSuffix(value, "/"):
		return "leave out the / at its end"
	case !issuerPath.MatchString(u.EscapedPath()):
		return "its path can only have parts of letters, digits and -_~. that do not begin with a dot"
	}
	return checkCanonical(u)
}

func checkRedirectURI(value string) string {
	u, why := parseURI(value)
	switch {
	case why != "":
		return why
	case strings.Contains(value, "*"):
		return "there are no wildcards: list every URI"
	case u.Scheme == "https", u.Scheme == "http":
		return checkAuthority(u)
	case !privateScheme.MatchString(u.Scheme):
		return "use https, http on a loopback host, or a scheme of your own such as com.example.app:/callback"
	case u.Opaque != "" || u.Host == "" && u.Path == "":
		return "write a / after the scheme, as in com.example.app:/callback"
	}
	return ""
}

func checkOrigin(value string) string {
	u, why := parseURI(value)
	switch {
	case strings.Contains(value, "*"):
		return "there are no wildcards: list every origin"
	case why != "":
		return why
	case u.Scheme != "https" && u.Scheme != "http":
		return "use https, or http on a loopback host"
	}
	if why := checkAuthority(u); why != "" {
		return why
	}
	if value != u.Scheme+"://"+u.Host {
		return "an origin is scheme://host or scheme://host:port and nothing more"
	}
	return checkCanonical(u)
}
