package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// The URLs of stores. They hold passwords, and what looks like a host may be the
// rest of a password that should have been written with %XX: so no reason repeats a
// part of a URL, except the name of a parameter.

// storageSchemes are the schemes that a storage URL can have.
var storageSchemes = map[string]Engine{
	"sqlite":          EngineSQLite,
	"postgres":        EnginePostgres,
	"postgresql":      EnginePostgres,
	"redis":           EngineRedis,
	"rediss":          EngineRedis,
	"redis+cluster":   EngineRedis,
	"rediss+cluster":  EngineRedis,
	"redis+sentinel":  EngineRedis,
	"rediss+sentinel": EngineRedis,
}

const (
	wantStorage = "write sqlite:///absolute/path.db, sqlite:relative.db, postgres://user:password@host/database, redis://user:password@host:6379/0 (rediss:// for TLS), " +
		"redis+cluster://host,host or redis+sentinel://host,host/master"
	wantEscapes = "in a user or password, write whatever is no letter, digit or one of -._~ as %XX: @ is %40, / is %2F, : is %3A, ? is %3F, # is %23, % is %25"
)

// A storageURL is a storage URL taken apart.
type storageURL struct {
	scheme         string
	engine         Engine
	user, password string            // as written
	hosts          []string          // host or host:port, as written; none for SQLite
	path           string            // SQLite: the file; otherwise what follows the hosts, without its first /
	params         map[string]string // decoded
}

// checkStorageURL returns why value cannot be where state is kept.
func checkStorageURL(value string) string {
	_, why := parseStorageURL(value)
	return why
}

func parseStorageURL(value string) (u storageURL, why string) {
	scheme, rest, _ := strings.Cut(value, ":")
	u.scheme, u.engine = scheme, storageSchemes[scheme]
	switch u.engine {
	case EngineSQLite:
		u.path, why = parseSQLite(rest)
		return u, why
	case "":
		if lower := strings.ToLower(scheme); storageSchemes[lower] != "" {
			return u, "write its scheme in lower case"
		}
		return u, wantStorage
	}
	if why := u.parse(rest); why != "" {
		return u, why
	}
	if u.engine == EngineRedis {
		return u, u.checkRedis()
	}
	return u, u.checkPostgres()
}

// parseSQLite returns the path of what follows sqlite: in a URL.
func parseSQLite(path string) (file, why string) {
	const want = "write sqlite:///absolute/path.db or sqlite:relative.db"
	if strings.HasPrefix(path, "//") {
		if path = path[2:]; !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
			return "", want
		}
	}
	if strings.Trim(path, "/.") == "" || strings.HasSuffix(path, "/") {
		return "", want
	}
	if strings.ContainsAny(path, "?#%") || checkText(path) != "" {
		return "", "its path cannot contain ?, #, % or control characters"
	}
	return path, ""
}

// parse takes apart what follows the scheme: //user:password@hosts/path?parameters.
func (u *storageURL) parse(rest string) (why string) {
	rest, found := strings.CutPrefix(rest, "//")
	switch {
	case !found:
		return "write // after its scheme, as in " + u.scheme + "://host"
	case len(rest) > maxURI:
		return "it is longer than 2000 characters"
	case !uriText.MatchString(rest):
		return "it contains a character that no URL can; " + wantEscapes
	case strings.Contains(rest, "#"):
		return "it contains a #; " + wantEscapes
	case strings.Count(rest, "@") > 1:
		return "it contains more than one @; " + wantEscapes
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(path+query, "@") {
		return "it contains a / or ? before the @; " + wantEscapes
	}
	u.path = path
	userinfo, hosts, found := strings.Cut(authority, "@")
	if !found {
		userinfo, hosts = "", authority
	}
	if why := u.parseUser(userinfo); why != "" {
		return why
	}
	if why := u.parseHosts(hosts); why != "" {
		return why
	}
	return u.parseQuery(query)
}

func (u *storageURL) parseUser(userinfo string) (why string) {
	user, password, _ := strings.Cut(userinfo, ":")
	for _, part := range []string{user, password} {
		// The engines' own parsers differ on brackets, and none takes NUL.
		if plain, err := url.PathUnescape(part); err != nil || strings.ContainsAny(part, "[]") || strings.Contains(plain, "\x00") {
			return "its user or password is not written as a URL wants it; " + wantEscapes
		}
	}
	u.user, u.password = user, password
	return ""
}

func (u *storageURL) parseHosts(text string) (why string) {
	if text == "" {
		if u.engine == EnginePostgres {
			return "" // a parameter may have it
		}
		return "it has no host"
	}
	for server := range strings.SplitSeq(text, ",") {
		host, port := splitServer(server)
		switch {
		case host == "":
			return "one of its hosts is empty, or an IPv6 address without [ and ]"
		case strings.HasSuffix(server, ":"):
			return "leave out the : without a port"
		}
		if why := checkHost(host); why != "" && !(u.engine == EnginePostgres && socket(host)) {
			return why
		}
		if port != "" {
			if why := checkPort(port); why != "" {
				return why
			}
		}
		u.hosts = append(u.hosts, server)
	}
	return ""
}

// splitServer cuts host, host:port, [address] or [address]:port in two. The host is
// empty when it is none of these.
func splitServer(server string) (host, port string) {
	if strings.HasPrefix(server, "[") {
		address, port, found := strings.Cut(server[1:], "]")
		if !found || port != "" && port[0] != ':' || !strings.Contains(address, ":") {
			return "", ""
		}
		return address, strings.TrimPrefix(port, ":")
	}
	host, port, _ = strings.Cut(server, ":")
	if strings.Contains(port, ":") {
		return "", ""
	}
	return host, port
}

// parseQuery reads the parameters. Whether + is a space in them depends on who
// reads them, so it is refused.
func (u *storageURL) parseQuery(query string) (why string) {
	if strings.Contains(query, "+") {
		return "write a + in a parameter as %2B, and a space as %20"
	}
	known := storageParams[u.engine]
	u.params = map[string]string{}
	for param := range strings.SplitSeq(query, "&") {
		name, text, _ := strings.Cut(param, "=")
		check, ok := known[name]
		value, err := url.PathUnescape(text)
		_, twice := u.params[name]
		switch {
		case param == "":
			continue
		case !ok && plainKey.MatchString(name):
			return "its parameter " + name + " is not known" + didYouMean(name, slices.Sorted(maps.Keys(known)))
		case !ok:
			return "one of its parameters is not known; known are " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
		case twice:
			return "its parameter " + name + " is there twice"
		case err != nil:
			return "a % in its parameter " + name + " has no two hexadecimal digits behind it; write % itself as %25"
		case value == "" || checkText(value) != "":
			return "its parameter " + name + " is empty or contains a control character"
		}
		if why := check(value); why != "" {
			return "its parameter " + name + " " + why
		}
		u.params[name] = value
	}
	return ""
}
