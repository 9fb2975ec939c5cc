package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/lettergate/lettergate/provider/storage"
)

// How the servers that a URL names belong together.
const (
	single   = ""
	cluster  = "cluster"
	sentinel = "sentinel"
)

const (
	defaultPrefix = "lettergate:"
	longestPrefix = 64
	mostReplicas  = 100
)

// A location is a URL taken apart.
type location struct {
	layout         string // single, cluster or sentinel
	secure         bool
	user, password string
	hosts          []string // host:port
	master         string   // with sentinels
	database       int

	prefix                         string
	wait                           int
	caFile                         string
	sentinelUser, sentinelPassword string
}

// wrong returns ErrUnfit with a sentence. A URL holds a password, and what looks like
// a host may be a part of it, so no sentence repeats what stands in a URL, except the
// name of a parameter.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: the URL "+format, append([]any{storage.ErrUnfit}, args...)...)
}

// parseURL takes a URL apart by hand: net/url knows one host only, and its errors
// repeat the URL.
func parseURL(text string) (location, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	family, layout, _ := strings.Cut(scheme, "+")
	if !ok || family != "redis" && family != "rediss" || scheme != family && layout != cluster && layout != sentinel {
		return location{}, wrong("begins with redis://, redis+cluster:// or redis+sentinel://, or the same with rediss for TLS")
	}
	l := location{layout: layout, secure: family == "rediss", prefix: defaultPrefix}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(text, "# \t\r\n") || strings.Contains(path+query, "@") {
		return location{}, wrong("has a #, a space, or a / or ? before its @; in user and password they are written as %%23, %%20, %%2F and %%3F")
	}
	userinfo, hosts := "", authority
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		userinfo, hosts = authority[:at], authority[at+1:]
	}
	for _, parse := range []func() error{
		func() error { return l.parseUser(userinfo) },
		func() error { return l.parseHosts(hosts) },
		func() error { return l.parsePath(path) },
		func() error { return l.parseQuery(query) },
		l.check,
	} {
		if err := parse(); err != nil {
			return location{}, err
		}
	}
	return l, nil
}

func (l *location) parseUser(userinfo string) (err error) {
	user, password, _ := strings.Cut(userinfo, ":")
	var err2 error
	l.user, err = url.PathUnescape(user)
	l.password, err2 = url.PathUnescape(password)
	switch {
	case err != nil || err2 != nil || strings.ContainsAny(userinfo, "@"):
		return wrong("has a user or password with a %% or @ in it; they are written as %%25 and %%40")
	case l.user != "" && l.password == "":
		return wrong("has a user and no password; without a user it is redis://:password@host")
	}
	return nil
}

func (l *location) parseHosts(hosts string) error {
	port := "6379"
	if l.layout == sentinel {
		port = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if strings.LastIndexByte(host, ':') <= strings.LastIndexByte(host, ']') { // no port
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		name, number, err := net.SplitHostPort(host)
		n, notNumber := strconv.ParseUint(number, 10, 16)
		if err != nil || notNumber != nil || n == 0 || name == "" {
			return wrong("has a host that is not written as host, host:port or [IPv6 address]:port")
		}
		l.hosts = append(l.hosts, host)
	}
	if l.layout == single && len(l.hosts) > 1 {
		return wrong("has several hosts, which is for redis+cluster:// and redis+sentinel://")
	}
	return nil
}

func (l *location) parsePath(path string) error {
	number := path
	if l.layout == sentinel {
		if l.master, number, _ = strings.Cut(path, "/"); l.master == "" || strings.Contains(l.master, "%") {
			return wrong("names the master behind its hosts, as in redis+sentinel://host/mymaster")
		}
	}
	if number == "" {
		return nil
	}
	n, err := strconv.ParseUint(number, 10, 16)
	switch {
	case err != nil:
		return wrong("has a database behind its host that is no number from 0 to 65535")
	case l.layout == cluster && n != 0:
		return wrong("has a database behind its hosts; a cluster has only database 0")
	}
	l.database = int(n)
	return nil
}

func (l *location) parseQuery(query string) error {
	seen := map[string]bool{}
	for param := range strings.SplitSeq(query, "&") {
		if param == "" {
			continue
		}
		name, text, _ := strings.Cut(param, "=")
		value, err := url.PathUnescape(text)
		switch {
		case seen[name]:
			return wrong("has the parameter %s twice", name)
		case err != nil || value == "":
			err = fmt.Errorf("is empty, or has a %% without two hexadecimal digits behind it")
		default:
			err = l.set(name, value)
		}
		if err != nil && !known(name) {
			return wrong("has a parameter that is not known; known are prefix, ca_file, wait, sentinel_username and sentinel_password%s", called(name))
		}
		if err != nil {
			return wrong("has a parameter %s that %w", name, err)
		}
		seen[name] = true
	}
	return nil
}

func known(name string) bool {
	switch name {
	case "prefix", "ca_file", "wait", "sentinel_username", "sentinel_password":
		return true
	}
	return false
}

// called names an unknown parameter, if that can be one and no piece of a password.
func called(name string) string {
	for _, c := range name {
		if c != '_' && (c < 'a' || c > 'z') {
			return ""
		}
	}
	return ", not " + name
}

func (l *location) set(name, value string) error {
	switch name {
	case "prefix":
		l.prefix = value
		if len(value) > longestPrefix || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' || c == '{' || c == '}' }) {
			return fmt.Errorf("is not 1 to %d printable ASCII characters without spaces and braces", longestPrefix)
		}
	case "wait":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > mostReplicas {
			return fmt.Errorf("is not a number of replicas from 0 to %d", mostReplicas)
		}
		l.wait = n
	case "ca_file":
		l.caFile = value
	case "sentinel_username":
		l.sentinelUser = value
	case "sentinel_password":
		l.sentinelPassword = value
	default:
		return fmt.Errorf("is not known")
	}
	return nil
}

// check checks the parts against each other.
func (l *location) check() error {
	switch {
	case l.caFile != "" && !l.secure:
		return wrong("has a ca_file, which is for TLS: it begins with rediss")
	case l.layout != sentinel && l.sentinelUser+l.sentinelPassword != "":
		return wrong("has a sentinel_username or sentinel_password, which are for redis+sentinel://")
	case l.sentinelUser != "" && l.sentinelPassword == "":
		return wrong("has a sentinel_username and no sentinel_password")
	}
	return nil
}

// tls returns how to speak TLS with the servers, nil without it.
func (l *location) tls() (*tls.Config, error) {
	if !l.secure {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if l.caFile == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(l.caFile)
	if err != nil {
		return nil, fmt.Errorf("%w: the ca_file cannot be read: %w", storage.ErrUnfit, err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%w: the ca_file %s holds no certificate in PEM", storage.ErrUnfit, l.caFile)
	}
	return cfg, nil
}

// String returns the location without what is secret.
func (l *location) String() string {
	scheme := "redis"
	if l.secure {
		scheme = "rediss"
	}
	if l.layout != single {
		scheme += "+" + l.layout
	}
	text := scheme + "://" + strings.Join(l.hosts, ",")
	if l.master != "" {
		text += "/" + l.master
	}
	if l.database != 0 {
		text += "/" + strconv.Itoa(l.database)
	}
	return text
}
