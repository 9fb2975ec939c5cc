package mail

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// ErrAddress says that something is not an address we send to. The message says
// why without repeating the address.
var ErrAddress = errors.New("mail: not a usable address")

// RFC 5321 section 4.5.3.1, and erratum 1690 of RFC 3696 for the whole.
const (
	maxLocal   = 64
	maxAddress = 254
	maxLabel   = 63
)

// An Address is a mailbox that mail can be sent to. It comes from ParseAddress;
// the zero Address is none. Addresses can be compared with ==, but that an
// account belongs to an address is decided by Identity.
type Address struct {
	local  string // as typed
	domain string // A-labels, lower case
}

// ParseAddress reads a bare address by a grammar much narrower than RFC 5322's:
// a dot-atom of ASCII, "@", and a domain name of at least two labels, together at
// most 254 octets. A domain may be given in Unicode (IDNA 2008, without any
// mapping: what looks like another domain stays another domain or is refused) and
// becomes A-labels. Quoted strings, comments, address literals, names and
// surrounding spaces are refused. The error wraps ErrAddress.
func ParseAddress(s string) (Address, error) {
	if len(s) > 4*maxAddress { // bounds the work; U-labels are longer than A-labels
		return Address{}, fmt.Errorf("%w: too long", ErrAddress)
	}
	local, domain, found := strings.Cut(s, "@")
	if !found {
		return Address{}, fmt.Errorf("%w: no @", ErrAddress)
	}
	if !dotAtom(local) {
		return Address{}, fmt.Errorf("%w: the part before the @", ErrAddress)
	}
	domain, ok := aLabels(domain)
	if !ok || !strings.Contains(domain, ".") {
		return Address{}, fmt.Errorf("%w: the domain", ErrAddress)
	}
	if len(local)+1+len(domain) > maxAddress {
		return Address{}, fmt.Errorf("%w: too long", ErrAddress)
	}
	return Address{local, domain}, nil
}

// String returns the address that mail is sent to: the local part as it was
// typed, because only its domain knows whether case matters, and the domain in
// lower-case A-labels.
func (a Address) String() string {
	if a.local == "" {
		return ""
	}
	return a.local + "@" + a.domain
}

// Identity returns what an account is known by: the address in lower case. It is
// in Unicode's form NFC, as is all ASCII. Nothing else is folded: a dot or a +tag
// makes another identity.
func (a Address) Identity() string {
	return lowerASCII(a.String())
}

// Domain returns the domain in lower-case A-labels.
func (a Address) Domain() string { return a.domain }

// dotAtom reports whether s is a dot-atom of RFC 5322 section 3.2.3, which needs
// no quoting anywhere, of a permitted length.
func dotAtom(s string) bool {
	if s == "" || len(s) > maxLocal {
		return false
	}
	if s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	// It would be an atom, but some mail servers decode an encoded-word here and
	// find another recipient in it.
	if strings.Contains(s, "=?") {
		return false
	}
	for _, c := range []byte(s) {
		if !letterOrDigit(c) && !strings.ContainsRune(".!#$%&'*+-/=?^_`{|}~", rune(c)) {
			return false
		}
	}
	return true
}

// aLabels returns the domain in lower-case A-labels, and whether it is a host
// name. The result is checked by our own grammar, whatever idna let through.
func aLabels(domain string) (string, bool) {
	// Registration maps nothing, not even A to a. Only ASCII is lowered here:
	// strings.ToLower would turn the Kelvin sign into a k.
	domain, err := idna.Registration.ToASCII(lowerASCII(domain))
	if err != nil || domain == "" || len(domain) > maxAddress {
		return "", false
	}
	labels := strings.Split(domain, ".")
	for _, l := range labels {
		if l == "" || len(l) > maxLabel || l[0] == '-' || l[len(l)-1] == '-' {
			return "", false
		}
		for _, c := range []byte(l) {
			if c != '-' && !letterOrDigit(c) {
				return "", false
			}
		}
	}
	// No top-level domain is a number (RFC 3696 section 2), an IPv4 address is.
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "", false
	}
	return domain, true
}

func letterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
