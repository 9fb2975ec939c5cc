package config

import (
	"path/filepath"
	"strings"
)

// An Engine is a sort of store.
type Engine string

// The engines. Their text is stable and may be logged.
const (
	EngineSQLite   Engine = "sqlite"
	EnginePostgres Engine = "postgres"
	EngineRedis    Engine = "redis"
)

// StorageEngine returns the engine that url, one of [Storage], names by its scheme,
// "" for a scheme that Validate refuses.
func StorageEngine(url Secret) Engine {
	scheme, _, _ := strings.Cut(url.Reveal(), ":")
	return storageSchemes[scheme]
}

// Redacted returns url, one of [Storage], as it may be shown and logged: without
// user, password and parameters, of which only the schema or prefix that was set is
// named behind it. A URL that Validate refuses is ***.
func Redacted(url Secret) string {
	u, why := parseStorageURL(url.Reveal())
	if why != "" {
		return hidden
	}
	if u.engine == EngineSQLite {
		return url.Reveal()
	}
	text := u.scheme + "://" + strings.Join(u.hosts, ",")
	if u.path != "" {
		text += "/" + u.path
	}
	for _, name := range []string{"schema", "prefix"} {
		if value := u.params[name]; value != "" {
			text += ", " + name + " " + value
		}
	}
	return text
}

// SQLitePath is [Config.SQLitePathOf] of Storage.URL.
func (c Config) SQLitePath() (path string, ok bool) { return c.SQLitePathOf(c.Storage.URL) }

// SQLitePathOf returns the file that url, one of [Storage], names, below DataDir
// when it is relative. ok is false when it names another engine.
func (c Config) SQLitePathOf(url Secret) (path string, ok bool) {
	path, ok = strings.CutPrefix(url.Reveal(), "sqlite:")
	if !ok {
		return "", false
	}
	path = strings.TrimPrefix(path, "//")
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.DataDir, path)
	}
	return path, true
}

// checkStorage checks the two URLs against each other.
func (c Config) checkStorage(l *faultList) {
	const path = "storage.accounts_url"
	url, why := parseStorageURL(c.Storage.URL.Reveal())
	accounts, whyNot := parseStorageURL(c.Storage.AccountsURL.Reveal())
	switch {
	case why != "" || whyNot != "" || c.Storage.AccountsURL == "":
	case c.storagePlace(c.Storage.URL, url) == c.storagePlace(c.Storage.AccountsURL, accounts):
		l.add(path, "names the same store as storage.url; leave it out")
	}
}

// storagePlace returns a text that two URLs share when what one stores is found
// through the other.
func (c Config) storagePlace(secret Secret, u storageURL) string {
	if file, ok := c.SQLitePathOf(secret); ok {
		if abs, err := filepath.Abs(file); err == nil {
			file = abs
		}
		return string(u.engine) + " " + filepath.Clean(file)
	}
	return u.place()
}

// Warnings returns what is allowed and may still be a mistake, each with its Path:
// what nobody or anybody can sign in with, keys that cannot be fetched, and stores that
// are reached without TLS that proves who answers. Its receiver is valid; none of it keeps a provider from working.
func (c Config) Warnings() []Fault {
	var l faultList
	c.warnOfStore(&l, "storage.url", c.Storage.URL)
	c.warnOfStore(&l, "storage.accounts_url", c.Storage.AccountsURL)
	if StorageEngine(c.Storage.AccountsURL) == EngineRedis && StorageEngine(c.Storage.URL) != EngineRedis {
		l.add("storage.accounts_url", "keeps accounts in Redis and what lives shortly elsewhere; did you mean it the other way round?")
	}
	if len(c.InsecureTestCodes) > 0 {
		l.add("insecure_test_codes", "whoever knows a code that is listed here signs in as its address")
	}
	c.warnOfKeyURIs(&l)
	if len(c.Clients) == 0 {
		l.add("clients", "there are none, so nobody can sign in")
	}
	return l.faults
}

// warnOfStore warns of a connection on which somebody else can listen or answer.
func (c Config) warnOfStore(l *faultList, path string, secret Secret) {
	u, why := parseStorageURL(secret.Reveal())
	if why != "" {
		return
	}
	const can = "can read and change what is stored, and use the password"
	host := u.farHost()
	switch {
	case host == "" || u.verified():
	case u.engine == EngineRedis:
		secure := "rediss" + strings.TrimPrefix(u.scheme, "redis")
		l.add(path, "%s:// has no TLS, so whoever is between this machine and %s %s; write %s://", u.scheme, host, can, secure)
	case u.engine == EnginePostgres:
		l.add(path, "sslmode=%s does not prove that %s answers, so whoever is in between %s; write verify-full, the default", u.params["sslmode"], host, can)
	}
}
