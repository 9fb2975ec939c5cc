package oauth

import (
	"errors"
	"net/netip"
	"strings"
)

// normalURL returns the one spelling by which URLs are compared (RFC 9449 section
// 4.3, RFC 3986 sections 6.2.2 and 6.2.3): scheme and host in lower case, no default
// port, no escapes that need not be, no dot segments, and neither query nor fragment.
// It is written by hand because net/url keeps less of what was written than a
// comparison needs. Applying it again changes nothing.
func normalURL(raw string) (string, error) {
	raw, _, _ = strings.Cut(raw, "#")
	raw, _, _ = strings.Cut(raw, "?")
	scheme, rest, ok := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return "", errors.New("not an absolute http or https URL")
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	authority, err := normalAuthority(scheme, authority)
	if err != nil {
		return "", err
	}
	path, err = normalPath(path)
	if err != nil {
		return "", err
	}
	return scheme + "://" + authority + path, nil
}

var errHost = errors.New("a URL whose host or port is not one")

// normalAuthority accepts host names, IPv4 addresses and IPv6 ones in brackets.
func normalAuthority(scheme, authority string) (string, error) {
	host, port := strings.ToLower(authority), ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	// Trim leaves nothing of what has nothing else in it.
	if len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return "", errHost
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
		if err != nil || !ip.Is6() || ip.Zone() != "" || !strings.HasSuffix(literal, "]") {
			return "", errHost
		}
		host = "[" + ip.String() + "]"
	} else if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return "", errHost
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return host, nil
	}
	return host + ":" + port, nil
}

// normalPath writes a path with as few escapes as there can be, those in upper case,
// and takes dot segments out. The empty path is that of the root.
func normalPath(path string) (string, error) {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(path) + 1)
	for i := 0; i < len(path); i++ {
		c, escaped := path[i], false
		switch {
		case c == '%':
			if i+2 >= len(path) || unhex(path[i+1]) < 0 || unhex(path[i+2]) < 0 {
				return "", errors.New("a URL with a % that begins no escape")
			}
			c, escaped = byte(unhex(path[i+1])<<4|unhex(path[i+2])), true
			i += 2
		case c < ' ' || c == 0x7f:
			return "", errors.New("a URL with a control character")
		}
		// What is reserved means one thing as it is and another one escaped; what is
		// neither reserved nor unreserved means the same, and is written escaped.
		if unreserved(c) || !escaped && strings.IndexByte("/:@!$&'()*+,;=", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return withoutDots(b.String()), nil
}

// withoutDots is remove_dot_segments of RFC 3986 section 5.2.4, for a path that is
// empty or begins with a slash.
func withoutDots(path string) string {
	if !strings.Contains(path, "/.") {
		if path == "" {
			return "/"
		}
		return path
	}
	segments := strings.Split(path[1:], "/")
	kept := segments[:0]
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			fallthrough
		case ".":
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
