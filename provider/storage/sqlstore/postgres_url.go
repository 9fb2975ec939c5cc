package sqlstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lettergate/lettergate/provider/storage"
)

const (
	defaultSchema = "lettergate"
	defaultConns  = 16
	mostConns     = 1000
)

// urlParameters are the parameters that a URL may have beside schema and
// max_conns. pgx takes any other for a setting of the server, so that a misspelt
// one would be ignored or refused much later.
var urlParameters = []string{
	"host", "port", "user", "password", "passfile", "dbname",
	"sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcertmode", "sslnegotiation",
	"channel_binding", "require_auth", "connect_timeout", "target_session_attrs",
	"application_name", "options", "synchronous_commit", "default_query_exec_mode",
}

var (
	// writableTargets are the values of target_session_attrs that find a server
	// which takes writes.
	writableTargets = []string{"any", "read-write", "primary"}
	// execModes are the values of default_query_exec_mode, which is pgx's, that
	// make a call one round trip.
	execModes = []string{"cache_statement", "cache_describe"}
)

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// A target is what a URL says.
type target struct {
	pool   *pgxpool.Config
	schema string
}

// CheckPostgresURL returns ErrUnfit, in words for the operator, unless a store
// could be opened with the URL. It uses no network, but reads the files that the
// URL names. No error shows what is in the URL but names of parameters and files.
//
// The URL is a libpq connection URI, postgres:// or postgresql://, with one or
// several servers or a directory of unix sockets. Two parameters are our own:
//
//	schema     where the tables are, default lettergate
//	max_conns  the most connections of this process, 1 to 1000, default 16
//
// Two have another default than libpq's. sslmode is verify-full when a server is
// neither on this machine's loopback nor a unix socket, whatever PGSSLMODE says:
// without it a password and all that is stored could be read on the way.
// target_session_attrs is read-write when there are several servers. A password
// that is not in the URL is looked for in PGPASSWORD and the passfile.
//
// Behind a pooler that gives each transaction another session, such as PgBouncer,
// and does not know prepared statements, default_query_exec_mode must be
// cache_describe.
func CheckPostgresURL(s string) error {
	_, err := parsePostgresURL(s)
	return err
}

func parsePostgresURL(s string) (target, error) {
	base, parameters, err := cutParameters(s)
	if err != nil {
		return target{}, err
	}
	// First the rest of the URL: when that is wrong, what looks like a parameter may
	// be a part of a password.
	hosts, err := parseHosts(base, parameters)
	if err != nil {
		return target{}, err
	}
	t, conns := target{schema: defaultSchema}, defaultConns
	for name, value := range parameters {
		switch {
		case name == "schema":
			if t.schema = value; !schemaName.MatchString(value) {
				return t, unfitURL("schema must be 1 to 63 of a-z, 0-9 and _, and not begin with a digit")
			}
		case name == "max_conns":
			if conns, err = strconv.Atoi(value); err != nil || conns < 1 || conns > mostConns {
				return t, unfitURL("max_conns must be a number from 1 to %d", mostConns)
			}
		case !slices.Contains(urlParameters, name):
			return t, unfitURL("it has an unknown parameter %q; known are schema, max_conns, %s", name, strings.Join(urlParameters, ", "))
		}
	}
	delete(parameters, "schema")
	delete(parameters, "max_conns")
	if t.pool, err = parseTarget(base, hosts, parameters); err != nil {
		return t, err
	}
	t.pool.MaxConns = int32(conns)
	return t, nil
}

func unfitURL(format string, args ...any) error {
	return fmt.Errorf("%w: the URL cannot be used: "+format, append([]any{storage.ErrUnfit}, args...)...)
}

// cutParameters cuts s at its query as libpq does: user and password may hold any
// character but / and @, a question mark included.
func cutParameters(s string) (base string, parameters map[string]string, err error) {
	rest, ok := strings.CutPrefix(s, "postgres://")
	if !ok {
		if rest, ok = strings.CutPrefix(s, "postgresql://"); !ok {
			return "", nil, unfitURL("it must begin with postgres:// or postgresql://")
		}
	}
	user := ""
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		user, rest = rest[:i+1], rest[i+1:]
	}
	if strings.Contains(rest, "@") {
		// What stands before it may be a part of a password, so it is not read on.
		return "", nil, unfitURL("it has an @ behind the host; in user, password and parameters write @ as %%40 and / as %%2F")
	}
	place, query, _ := strings.Cut(rest, "?")
	parameters = map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.PathUnescape(name)
		value, valueErr := url.PathUnescape(value)
		if nameErr != nil || valueErr != nil {
			return "", nil, errURL
		}
		parameters[name] = value // the last one counts, as in libpq
	}
	return "postgres://" + user + place, parameters, nil
}

var errURL = unfitURL("it must look like postgres://user:password@host:5432/database?parameter=value, with what is no letter or digit in user and password as %%XX")

// parseHosts returns the hosts of the URL. pgx's errors show the URL, and with it
// perhaps the password.
func parseHosts(base string, parameters map[string]string) ([]string, error) {
	plain := map[string]string{"sslmode": "disable", "target_session_attrs": "any"}
	for _, name := range []string{"host", "port", "user", "password", "dbname"} {
		if v, ok := parameters[name]; ok {
			plain[name] = v
		}
	}
	cfg, err := pgxpool.ParseConfig(withParameters(base, plain))
	if err != nil {
		return nil, errURL
	}
	hosts := []string{cfg.ConnConfig.Host}
	for _, f := range cfg.ConnConfig.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	return hosts, nil
}

// parseTarget has pgx read the URL, with our defaults in it.
func parseTarget(base string, hosts []string, parameters map[string]string) (*pgxpool.Config, error) {
	setDefault(parameters, "sslmode", slices.ContainsFunc(hosts, remote), "verify-full", "prefer")
	setDefault(parameters, "target_session_attrs", len(hosts) > 1, "read-write", "any")
	setDefault(parameters, "application_name", true, "lettergate", "")
	setDefault(parameters, "default_query_exec_mode", true, execModes[0], "")
	if !slices.Contains(writableTargets, parameters["target_session_attrs"]) {
		return nil, unfitURL("target_session_attrs must be one of %s", strings.Join(writableTargets, ", "))
	}
	if !slices.Contains(execModes, parameters["default_query_exec_mode"]) {
		return nil, unfitURL("default_query_exec_mode must be one of %s", strings.Join(execModes, ", "))
	}
	cfg, err := pgxpool.ParseConfig(withParameters(base, parameters))
	if err != nil {
		// What is wrong now is one of the parameters, and its cause has no URL in it.
		if cause := errors.Unwrap(err); cause != nil {
			return nil, unfitURL("%w", cause)
		}
		return nil, unfitURL("one of its parameters has a value that is not known")
	}
	return cfg, nil
}

// setDefault sets a parameter that is absent or empty, which pgx takes for absent.
func setDefault(parameters map[string]string, name string, when bool, then, otherwise string) {
	if parameters[name] != "" {
		return
	}
	if parameters[name] = otherwise; when {
		parameters[name] = then
	}
}

// remote reports whether what is sent to host leaves this machine.
func remote(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

// withParameters returns the URL with the parameters.
func withParameters(base string, parameters map[string]string) string {
	query := url.Values{}
	for name, value := range parameters {
		query.Set(name, value)
	}
	return base + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
}
