package config

import (
	"net"
	"net/mail"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// The checks of single values. Each returns why a value is not allowed and what
// would be, or nothing when it is. The reason never repeats the value.

var (
	clientID = regexp.MustCompile(`^[\x21-\x7e]{1,100}$`)
	// RFC 6749 section 3.3, without upper case: people would take Email and
	// email for the same.
	scope    = regexp.MustCompile(`^[\x21\x23-\x40\x5b\x5d-\x7e]{1,100}$`)
	testCode = regexp.MustCompile(`^[0-9]{6,10}$`)
	label    = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
)

func checkClientID(value string) string {
	if !clientID.MatchString(value) {
		return "use 1 to 100 letters, digits and signs of ASCII, no spaces"
	}
	// client_credentials tokens have the subject client:<id>.
	if strings.HasPrefix(value, "client:") {
		return "an id cannot begin with client:"
	}
	return ""
}

func checkScope(value string) string {
	if !scope.MatchString(value) {
		return `use 1 to 100 lower-case letters, digits and signs of ASCII other than " and \, no spaces`
	}
	return ""
}

func checkText(value string) string {
	for _, r := range value {
		if r != ' ' && !unicode.IsGraphic(r) {
			return "it contains a control character or one that cannot be seen"
		}
	}
	return ""
}

func checkKeyID(value string) string {
	if !clientID.MatchString(value) {
		return "use letters, digits and signs of ASCII, no spaces"
	}
	return ""
}

func checkMailFrom(value string) string {
	const want = "write name <address> or an address"
	addr, err := mail.ParseAddress(value)
	if err != nil {
		return want
	}
	if checkText(value) != "" || strings.ContainsFunc(addr.Address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "the address can only be ASCII (domains in their xn-- form), and nothing can be a control character"
	}
	_, domain, _ := strings.Cut(addr.Address, "@")
	if strings.Contains(domain, "[") {
		return ""
	}
	return checkHost(strings.ToLower(domain))
}

// checkAddress accepts an address without a name.
func checkAddress(value string) string {
	if addr, err := mail.ParseAddress(value); err != nil || addr.Address != value {
		return "write an address, as in name@example.com"
	}
	return checkMailFrom(value)
}

func checkTestCode(value string) string {
	if !testCode.MatchString(value) {
		return "a code is 6 to 10 digits"
	}
	return ""
}

// checkHost accepts a domain name or an IP address without brackets.
func checkHost(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return "an address cannot have a zone"
		}
		return ""
	}
	labels := strings.Split(strings.ToLower(host), ".")
	for _, l := range labels {
		if !label.MatchString(l) {
			return "its host is no domain name (xn-- for international ones) and no IP address"
		}
	}
	// Browsers read such names as IPv4 addresses, in decimal, octal or hex.
	if last := labels[len(labels)-1]; strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "" {
		return "its host looks like an IP address and is none"
	}
	if len(host) > 253 {
		return "its host is longer than 253 characters"
	}
	return ""
}

func checkPort(port string) string {
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
		return "a port is a number from 1 to 65535"
	}
	return ""
}

func checkListen(value string) string {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return "write host:port, or :port for all addresses"
	}
	if host != "" {
		if why := checkHost(host); why != "" {
			return why
		}
	}
	return checkPort(port)
}

func checkNetwork(value string) string {
	prefix, err := netip.ParsePrefix(value)
	switch {
	case err != nil:
		return "write a network, as in 10.0.0.0/8 or 192.0.2.7/32"
	case prefix.Bits() == 0:
		return "this trusts everybody: name the networks of your proxies"
	case prefix.Addr().Is4In6():
		return "write networks of IPv4 as in 10.0.0.0/8"
	case prefix != prefix.Masked():
		return "did you mean " + prefix.Masked().String() + "?"
	}
	return ""
}
