package config

import (
	"cmp"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What the URLs of PostgreSQL and Redis have of their own, and what follows from them.

// storageParams are the parameters of each engine's URLs and the checks of their
// values. What is not here is refused, so that a slip is not passed over.
var storageParams = map[Engine]map[string]func(string) string{
	EngineRedis: {
		"prefix":            checkPrefix,
		"ca_file":           anyText,
		"wait":              wholeNumber(0, 100),
		"sentinel_username": anyText,
		"sentinel_password": anyText,
	},
	EnginePostgres: {
		"schema":               checkSchema,
		"max_conns":            wholeNumber(1, 1000),
		"host":                 anyText, // read as the hosts of the URL are
		"port":                 checkPort,
		"user":                 anyText,
		"password":             anyText,
		"passfile":             anyText,
		"dbname":               anyText,
		"sslmode":              oneOf("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
		"sslrootcert":          anyText,
		"sslcert":              anyText,
		"sslkey":               anyText,
		"sslpassword":          anyText,
		"sslcertmode":          oneOf("disable", "allow", "require"),
		"sslnegotiation":       oneOf("postgres", "direct"),
		"channel_binding":      oneOf("disable", "prefer", "require"),
		"require_auth":         anyText,
		"connect_timeout":      wholeNumber(1, 3600),
		"target_session_attrs": oneOf("any", "read-write", "primary"),
		"application_name":     anyText,
		"options":              anyText,
		"synchronous_commit":   oneOf("on", "remote_apply", "remote_write", "local", "off"),

		"default_query_exec_mode": oneOf("cache_statement", "cache_describe"),
	},
}

const longestPrefix = 64

func checkPrefix(value string) string {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }
	if len(value) > longestPrefix || strings.ContainsFunc(value, odd) {
		return "is 1 to " + strconv.Itoa(longestPrefix) + " letters, digits and signs of ASCII other than { and }, without spaces"
	}
	return ""
}

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func anyText(string) string { return "" }

func checkSchema(value string) string {
	if !schemaName.MatchString(value) {
		return "is 1 to 63 lower-case letters, digits and _, and does not begin with a digit"
	}
	return ""
}

func oneOf(values ...string) func(string) string {
	return func(value string) string {
		if !slices.Contains(values, value) {
			return "is one of " + strings.Join(values, ", ")
		}
		return ""
	}
}

func wholeNumber(least, most int) func(string) string {
	return func(value string) string {
		if n, err := strconv.Atoi(value); err != nil || n < least || n > most || strconv.Itoa(n) != value {
			return "is a whole number from " + strconv.Itoa(least) + " to " + strconv.Itoa(most)
		}
		return ""
	}
}

// checkPostgres checks what PostgreSQL's URLs have of their own.
func (u *storageURL) checkPostgres() (why string) {
	for _, twice := range []struct{ part, param string }{
		{strings.Join(u.hosts, ","), "host"}, {u.user, "user"}, {u.password, "password"}, {u.path, "dbname"},
	} {
		if twice.part != "" && u.params[twice.param] != "" {
			return "its parameter " + twice.param + " repeats what is before the ?; leave one of them out"
		}
	}
	directory := u.params["host"]
	switch {
	case directory == "" && len(u.hosts) == 0:
		return "it has no host; a directory of Unix sockets is written ?host=/run/postgresql"
	case directory == "" && u.params["port"] != "":
		return "write its port behind the host"
	case directory != "":
		if u.hosts = []string{url.PathEscape(directory)}; !socket(u.hosts[0]) {
			return "its parameter host is for a directory of Unix sockets; write other hosts before the database"
		}
	}
	if u.path == "" {
		u.path = url.PathEscape(u.params["dbname"])
	}
	name, err := url.PathUnescape(u.path)
	switch {
	case u.path == "":
		return "it names no database; write it behind the host, as in postgres://host/lettergate"
	case err != nil || strings.Contains(u.path, "/") || checkText(name) != "":
		return "what is behind its host is the name of one database, with %XX for what is no letter, digit or one of -._~"
	}
	return ""
}

// socket reports whether a host of a PostgreSQL URL is a directory of Unix sockets,
// as in %2Frun%2Fpostgresql.
func socket(host string) bool {
	directory, err := url.PathUnescape(host)
	return err == nil && strings.HasPrefix(directory, "/") && !strings.Contains(directory, ",") && checkText(directory) == ""
}

var databaseNumber = wholeNumber(0, 65535)

// checkRedis checks what Redis' URLs have of their own.
func (u *storageURL) checkRedis() (why string) {
	if u.user != "" && u.password == "" {
		return "it has a user and no password; write redis://:password@host when there is no user"
	}
	if u.params["ca_file"] != "" && !strings.HasPrefix(u.scheme, "rediss") {
		return "its parameter ca_file is for TLS; write " + u.secureScheme() + "://"
	}
	if u.params["sentinel_username"] != "" && u.params["sentinel_password"] == "" {
		return "it has a sentinel_username and no sentinel_password"
	}
	if u.params["sentinel_password"] != "" && u.layout() != "sentinel" {
		return "its parameter sentinel_password is for redis+sentinel://"
	}
	switch master, database := u.database(); {
	case u.layout() == "" && len(u.hosts) > 1:
		return "it has more than one host; write redis+cluster:// or redis+sentinel:// when they are one, or a single host"
	case u.layout() == "cluster" && cmp.Or(database, "0") != "0":
		return "a cluster has database 0 only; leave out what is behind the hosts"
	case u.layout() == "sentinel" && !masterName.MatchString(master):
		return "write the name that the sentinels have for the master behind the hosts, as in redis+sentinel://host/mymaster"
	case database != "" && databaseNumber(database) != "":
		return "the database behind its host " + databaseNumber(database)
	}
	return ""
}

// database returns what the path of a Redis URL names: with sentinels the master,
// and the number of the database, "" for the default.
func (u storageURL) database() (master, number string) {
	if u.layout() == "sentinel" {
		master, number, _ = strings.Cut(u.path, "/")
		return master, number
	}
	return "", u.path
}

// masterName is what sentinel monitor takes for a name.
var masterName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// layout is how the servers of a Redis URL belong together: cluster, sentinel or,
// for a single one, "".
func (u storageURL) layout() string {
	_, layout, _ := strings.Cut(u.scheme, "+")
	return layout
}

// secureScheme is the scheme of a Redis URL with TLS.
func (u storageURL) secureScheme() string {
	if u.layout() == "" {
		return "rediss"
	}
	return "rediss+" + u.layout()
}

// place returns a text that two URLs of servers share when they lead to the same
// records. It is no proof that others do not: a server can have several names.
func (u storageURL) place() string {
	port := map[string]string{"": "6379", "cluster": "6379", "sentinel": "26379"}[u.layout()]
	if u.engine == EnginePostgres {
		port = "5432"
	}
	servers := make([]string, len(u.hosts))
	for i, server := range u.hosts {
		host, own := splitServer(server)
		servers[i] = net.JoinHostPort(strings.ToLower(host), cmp.Or(own, port))
	}
	slices.Sort(servers)
	path := u.path
	if u.engine == EngineRedis {
		master, database := u.database()
		path = master + "/" + cmp.Or(database, "0")
	}
	return strings.Join(append(servers, string(u.engine), u.layout(), path,
		cmp.Or(u.params["schema"], "lettergate"), cmp.Or(u.params["prefix"], "lettergate:")), " ")
}

// farHost returns the first host that is on another machine, "" when none is.
func (u storageURL) farHost() string {
	for _, server := range u.hosts {
		if host, _ := splitServer(server); !loopbackHost(strings.ToLower(host)) && !socket(host) {
			return host
		}
	}
	return ""
}

// verified reports whether the connection has TLS that proves who answers.
func (u storageURL) verified() bool {
	if u.engine == EnginePostgres {
		// The engine's default for another machine is verify-full.
		return cmp.Or(u.params["sslmode"], "verify-full") == "verify-full"
	}
	return strings.HasPrefix(u.scheme, "rediss")
}
