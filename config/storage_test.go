package config_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

// at is a valid configuration that keeps its state at url.
func at(url string) config.Config {
	return config.Config{
		Storage: config.Storage{URL: config.Secret(url)},
		Clients: []config.Client{{ID: "a", RedirectURIs: []string{"https://a.example/"}}},
	}.WithDefaults()
}

func TestStorageURL(t *testing.T) {
	for _, test := range []struct {
		url, redacted string
		engine        config.Engine
	}{
		{"sqlite:a.db", "sqlite:a.db", config.EngineSQLite},
		{"sqlite:dir/a.db", "sqlite:dir/a.db", config.EngineSQLite},
		{"sqlite:/var/a.db", "sqlite:/var/a.db", config.EngineSQLite},
		{"sqlite:///var/lib/a.db", "sqlite:///var/lib/a.db", config.EngineSQLite},
		{"sqlite:dir/a@b.db", "sqlite:dir/a@b.db", config.EngineSQLite},

		{"postgres://db.internal/lettergate", "postgres://db.internal/lettergate", config.EnginePostgres},
		{"postgresql://ann:hunter2@db.internal:5433/lettergate?sslmode=verify-full", "postgresql://db.internal:5433/lettergate", config.EnginePostgres},
		{"postgres://ann:hunter2%40%2f@[2001:db8::1]:5432/a%20b", "postgres://[2001:db8::1]:5432/a%20b", config.EnginePostgres},
		{"postgres://ann:hunter2@db1,db2:5433/x?target_session_attrs=read-write&sslpassword=hunter2&schema=gate", "postgres://db1,db2:5433/x, schema gate", config.EnginePostgres},
		{"postgres://ann:a:hunter2@db/x", "postgres://db/x", config.EnginePostgres},
		{"postgres://ann@db/x?application_name=a%20b%26hunter2&connect_timeout=5&max_conns=20&synchronous_commit=on", "postgres://db/x", config.EnginePostgres},

		{"postgres:///x?host=/run/postgresql&port=5433&user=ann&password=hunter2", "postgres://%2Frun%2Fpostgresql/x", config.EnginePostgres},
		{"postgres://ann:hunter2@%2frun%2fpostgresql/x", "postgres://%2frun%2fpostgresql/x", config.EnginePostgres},
		{"postgres://db?dbname=a%20b&passfile=/run/secrets/pgpass", "postgres://db/a%20b", config.EnginePostgres},

		{"redis://cache", "redis://cache", config.EngineRedis},
		{"redis://cache/", "redis://cache", config.EngineRedis},
		{"redis://:hunter2@127.0.0.1:6379/65535", "redis://127.0.0.1:6379/65535", config.EngineRedis},
		{"rediss://ann:hunter2@cache:6380/0?prefix=login%3A&ca_file=/etc/ca.pem&wait=1", "rediss://cache:6380/0, prefix login:", config.EngineRedis},
		{"redis+cluster://ann:hunter2@a:7000,b:7000,[::1]:7000", "redis+cluster://a:7000,b:7000,[::1]:7000", config.EngineRedis},
		{"rediss+cluster://a", "rediss+cluster://a", config.EngineRedis},
		{"redis+cluster://a/0", "redis+cluster://a/0", config.EngineRedis},
		{"rediss+sentinel://a/m?sentinel_username=ann&sentinel_password=hunter2", "rediss+sentinel://a/m", config.EngineRedis},
		{"redis+sentinel://ann:hunter2@a:26379,b/mymaster", "redis+sentinel://a:26379,b/mymaster", config.EngineRedis},
		{"rediss+sentinel://a,b/my-master.1/3", "rediss+sentinel://a,b/my-master.1/3", config.EngineRedis},
	} {
		c := at(test.url)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", test.url, err)
		}
		if got := config.Redacted(c.Storage.URL); got != test.redacted {
			t.Errorf("%s: redacted %q, want %q", test.url, got, test.redacted)
		}
		if got := config.StorageEngine(c.Storage.URL); got != test.engine {
			t.Errorf("%s: engine %q, want %q", test.url, got, test.engine)
		}
		for _, w := range c.Warnings() {
			if strings.Contains(w.String(), "hunter2") || w.Path != "storage.url" {
				t.Errorf("%s: warning %v", test.url, w)
			}
		}
	}
}

// storageFaults are URLs and a part of what is said about them.
var storageFaults = []struct{ url, why string }{
	{"a.db", "write sqlite:///absolute/path.db, sqlite:relative.db, postgres://"},
	{"hunter2", "write sqlite:"},
	{"file:a.db", "write sqlite:"},
	{"mysql://u:hunter2@db/x", "postgres://user:password@host/database, redis://"},
	{"unix:///run/redis.sock", "write sqlite:"},
	{"redis+tls://host", "rediss:// for TLS"},
	{"SQLITE:a.db", "write its scheme in lower case"},
	{"Postgres://db/x", "write its scheme in lower case"},

	{"sqlite:", "write sqlite:///absolute"},
	{"sqlite://", "write sqlite:///absolute"},
	{"sqlite:///", "write sqlite:///absolute"},
	{"sqlite://host/a.db", "write sqlite:///absolute"},
	{"sqlite:////a.db", "write sqlite:///absolute"},
	{"sqlite:.", "write sqlite:///absolute"},
	{"sqlite:dir/", "write sqlite:///absolute"},
	{"sqlite:a.db?mode=memory", "cannot contain ?"},
	{"sqlite:a\x00b", "control characters"},
	{"sqlite:a%2fb", "cannot contain ?, #, %"},

	{"postgres:db/x", "write // after its scheme"},
	{"redis:host", "write // after its scheme"},
	{"redis://" + strings.Repeat("a", 2001), "longer than 2000"},
	{"postgres:///x", "it has no host"},
	{"postgres://ann:hunter2@/x", "it has no host"},
	{"redis://", "it has no host"},
	{"redis://:6379", "hosts is empty"},
	{"redis+cluster://a:1,,b:2", "hosts is empty"},
	{"redis://[::1", "hosts is empty"},
	{"redis://::1", "without [ and ]"},
	{"redis://[::1]6379", "without [ and ]"},
	{"redis://[a.example]", "without [ and ]"},
	{"redis://a:", "leave out the :"},
	{"redis://a:0", "a port is a number from 1 to 65535"},
	{"redis://a:65536", "a port is a number from 1 to 65535"},
	{"postgres://db:hunter2/x", "a port is a number from 1 to 65535"},
	{"redis://[fe80::1%25eth0]", "zone"},
	{"redis://a..b", "no domain name"},
	{"redis://ann-hunter2-", "no domain name"},
	{"redis://a/%7a", "from 0 to 65535"},

	{"postgres://ann:hun#ter2@db/x", "# is %23"},
	{"postgres://ann:hun/ter2@db/x", "/ is %2F"},
	{"postgres://ann:hun?ter2@db/x", "? is %3F"},
	{"postgres://ann:hun@ter2@db/x", "@ is %40"},
	{"postgres://ann:hun%ter2@db/x", "% is %25"},
	{"postgres://ann:hun ter2@db/x", "@ is %40"},
	{"postgres://ann:hun^ter2@db/x", "as %XX"},
	{"postgres://ann:h\u00fcnter2@db/x", "as %XX"},
	{"redis://:hun[ter2@db", "as %XX"},
	{"redis://:hunter2%00@db", "as %XX"},
	{"redis://:hunter2@db\n", "no URL can"},

	{"postgres://db/x?password=hunter2&password=hunter2", "its parameter password is there twice"},
	{"postgres://ann:hunter2@db/x?password=hunter2", "its parameter password repeats what is before the ?"},
	{"postgres://db/x?host=/run", "its parameter host repeats what is before the ?"},
	{"postgres://db/x?port=5433", "write its port behind the host"},
	{"postgres:///x?host=hunter2", "its parameter host is for a directory of Unix sockets"},
	{"postgres:///x?host=/run,db", "its parameter host is for a directory of Unix sockets"},
	{"postgres://%2frun%00/x", "no domain name"},
	{"redis://%2frun/1", "no domain name"},
	{"postgres://db", "names no database"},
	{"postgres://db/", "names no database"},
	{"postgres://db/a/b", "name of one database"},
	{"postgres://db/a%zz", "name of one database"},
	{"postgres://db/a%00", "name of one database"},
	{"postgres://db/x?hunter2=1", "its parameter hunter2 is not known"},
	{"postgres://db/x?hunter%32=1", "one of its parameters is not known; known are application_name"},
	{"postgres://db/x?ssl_mode=require", "did you mean sslmode?"},
	{"postgres://db/x?prefix=a", "its parameter prefix is not known"},
	{"postgres://db/x?sslmode=on", "its parameter sslmode is one of disable, allow, prefer, require, verify-ca, verify-full"},
	{"postgres://db/x?sslmode=require&sslmode=disable", "its parameter sslmode is there twice"},
	{"postgres://db/x?sslmode", "its parameter sslmode is empty"},
	{"postgres://db/x?max_conns=0", "its parameter max_conns is a whole number from 1"},
	{"postgres://db/x?schema=A-b", "its parameter schema is 1 to 63 lower-case letters"},
	{"postgres://db/x?sslpassword=%zz", "its parameter sslpassword has no two hexadecimal digits"},
	{"postgres://db/x?application_name=a+b", "write a + in a parameter as %2B"},
	{"postgres://db/x?application_name=%0a", "control character"},

	{"redis://hunter2@cache", "write redis://:password@host when there is no user"},
	{"redis://a,b", "redis+cluster:// or redis+sentinel://"},
	{"redis://a/x", "the database behind its host is a whole number from 0 to 65535"},
	{"redis://a/65536", "the database behind its host is a whole number from 0 to 65535"},
	{"redis://a/-1", "the database behind its host is a whole number from 0 to 65535"},
	{"redis://a/01", "the database behind its host is a whole number from 0 to 65535"},
	{"redis://a/1/2", "the database behind its host is a whole number from 0 to 65535"},
	{"redis://a?sslmode=require", "its parameter sslmode is not known; known are ca_file, prefix, sentinel_password, sentinel_username, wait"},
	{"redis://a?wiat=1", "did you mean wait?"},
	{"redis://a?wait=all", "its parameter wait is a whole number from 0"},
	{"redis://a?ca_file=/ca.pem", "its parameter ca_file is for TLS; write rediss://"},
	{"redis+cluster://a?ca_file=/ca.pem", "write rediss+cluster://"},
	{"redis+cluster://a/1", "a cluster has database 0 only"},
	{"redis+cluster://a/x", "a cluster has database 0 only"},
	{"redis://a?prefix=%7ba%7d", "its parameter prefix is 1 to 64 letters"},
	{"redis://a?prefix=" + strings.Repeat("a", 65), "its parameter prefix is 1 to 64 letters"},
	{"redis://a?sentinel_password=hunter2", "its parameter sentinel_password is for redis+sentinel://"},
	{"redis+sentinel://a/m?sentinel_username=hunter2", "it has a sentinel_username and no sentinel_password"},
	{"redis+sentinel://a,b", "the name that the sentinels have for the master"},
	{"redis+sentinel://a,b/", "the name that the sentinels have for the master"},
	{"redis+sentinel://a/my%20master", "the name that the sentinels have for the master"},
	{"redis+sentinel://a/mymaster/x", "the database behind its host is a whole number"},
}

func TestStorageURLFaults(t *testing.T) {
	for _, test := range storageFaults {
		c := at(test.url)
		got := fmt.Sprint(c.Validate())
		if !strings.HasPrefix(got, "storage.url: is not allowed: ") || !strings.Contains(got, test.why) {
			t.Errorf("%q: got %q, want %q", test.url, got, test.why)
		}
		for _, part := range []string{"hunter2", "ter2", "hun"} {
			// The one part of a URL that may be repeated is the name of a parameter.
			if strings.Contains(got, part) && !strings.Contains(test.url, "?hunter2=") {
				t.Errorf("%q: %q repeats %s", test.url, got, part)
			}
		}
		if got := config.Redacted(c.Storage.URL); got != "***" {
			t.Errorf("%q: shown as %q", test.url, got)
		}
		c.Storage.URL, c.Storage.AccountsURL = "sqlite:a.db", c.Storage.URL
		if got := fmt.Sprint(c.Validate()); !strings.HasPrefix(got, "storage.accounts_url: is not allowed: ") {
			t.Errorf("%q as accounts_url: %s", test.url, got)
		}
	}
}

func TestAccountsURL(t *testing.T) {
	const same = "storage.accounts_url: names the same store as storage.url; leave it out"
	for _, test := range []struct{ url, accounts, want string }{
		{"redis://cache", "postgres://db/x", ""},
		{"sqlite:a.db", "postgres://db/x", ""},
		{"sqlite:a.db", "sqlite:b.db", ""},
		{"postgres://db/x", "redis://cache", ""},
		{"postgres://db/x", "postgres://db/y", ""},
		{"postgres://db/x", "postgres://db/x?schema=accounts", ""},
		{"postgres://db/x", "postgres:///x?host=/run/postgresql", ""},
		{"postgres://db/x", "postgres://db:5433/x", ""},
		{"redis://cache/1", "redis://cache/10", ""},
		{"redis://cache/1", "redis://cache", ""},
		{"redis://cache?prefix=a", "redis://cache?prefix=b", ""},
		{"redis+sentinel://a/m", "redis+sentinel://a/n", ""},

		{"sqlite:a.db", "sqlite:a.db", same},
		{"sqlite:a.db", "sqlite:./b/../a.db", same},
		{"sqlite:/data/a.db", "sqlite:///data/a.db", same},
		{"postgres://db/x", "postgres://db/x", same},
		{"postgres://ann:hunter2@db/x", "postgresql://bob:hunter2@DB:5432/x?sslmode=verify-full", same},
		{"postgres://a,b/x", "postgres://b:5432,a/x", same},
		{"postgres://db/x", "postgres://db:5432?dbname=x&schema=lettergate", same},
		{"redis://cache", "redis://cache:6379/0?prefix=lettergate:", same},
		{"rediss://:hunter2@cache", "redis://cache/", same},
		{"redis+cluster://a,b", "redis+cluster://b,a", same},
		{"redis+sentinel://a/m", "redis+sentinel://a:26379/m/0", same},
	} {
		c := at(test.url)
		c.Storage.AccountsURL = config.Secret(test.accounts)
		if err := c.Validate(); err == nil && test.want != "" || err != nil && err.Error() != test.want {
			t.Errorf("%s and %s: got %v, want %q", test.url, test.accounts, err, test.want)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir, file := range map[string]string{"/data": "/data/a.db", "data": here + "/data/a.db"} {
		c := at("sqlite:a.db")
		c.DataDir, c.Storage.AccountsURL = dir, config.Secret("sqlite://"+file)
		if err := c.Validate(); err == nil || err.Error() != same {
			t.Errorf("a.db in %s and %s: %v", dir, file, err)
		}
	}
}

func TestSQLitePathOf(t *testing.T) {
	c := config.Config{DataDir: "data", Storage: config.Storage{URL: "sqlite:a.db", AccountsURL: "redis://:hunter2@cache"}}
	for url, want := range map[config.Secret]string{
		"sqlite:a.db": "data/a.db", "sqlite:dir/a.db": "data/dir/a.db", "sqlite:/var/a.db": "/var/a.db", "sqlite:///var/a.db": "/var/a.db",
		"redis://cache": "", "postgres://db/x": "", "": "",
	} {
		if path, ok := c.SQLitePathOf(url); path != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, want %q", url.Reveal(), path, ok, want)
		}
	}
	if path, ok := c.SQLitePath(); path != "data/a.db" || !ok {
		t.Errorf("SQLitePath: %q, %v", path, ok)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"sqlite:a.db", ""},
		{"redis://127.0.0.1", ""},
		{"redis://LOCALHOST:6379", ""},
		{"redis+cluster://[::1]:7000,localhost:7001", ""},
		{"rediss://:hunter2@cache", ""},
		{"rediss+cluster://a,b", ""},
		{"postgres://db/x", ""},
		{"postgres://localhost/x?sslmode=disable", ""},
		{"postgres:///x?host=/run/postgresql&sslmode=disable", ""},
		{"postgres://%2frun%2fpostgresql/x?sslmode=disable", ""},
		{"postgres://db/x?sslmode=verify-full", ""},

		{"redis://:hunter2@cache:6379/1", "storage.url: redis:// has no TLS, so whoever is between this machine and cache can read and change what is stored, and use the password; write rediss://"},
		{"redis+cluster://localhost,b.internal", "storage.url: redis+cluster:// has no TLS, so whoever is between this machine and b.internal can read and change what is stored, and use the password; write rediss+cluster://"},
		{"redis+sentinel://a/m", "write rediss+sentinel://"},
		{"redis://127.0.0.1.evil.example", "127.0.0.1.evil.example"},
		{"postgres://ann:hunter2@db.internal/x?sslmode=prefer", "storage.url: sslmode=prefer does not prove that db.internal answers, so whoever is in between can read and change what is stored, and use the password; write verify-full, the default"},
		{"postgres://localhost,db/x?sslmode=verify-ca", "storage.url: sslmode=verify-ca does not prove that db answers"},
		{"postgres://db/x?sslmode=require", "sslmode=require does not prove"},
	} {
		c := at(test.url)
		if got := warningsOf(c); (got == "") != (test.want == "") || !strings.Contains(got, test.want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %q, want %q", test.url, got, test.want)
		}
		c.Storage.URL, c.Storage.AccountsURL = "redis://localhost", c.Storage.URL
		want := strings.Replace(test.want, "storage.url:", "storage.accounts_url:", 1)
		if got := warningsOf(c); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s as accounts_url: got %q, want %q", test.url, got, want)
		}
	}

	c := at("postgres://localhost/x")
	c.Storage.AccountsURL = "redis://localhost"
	if got := warningsOf(c); !strings.Contains(got, "storage.accounts_url: keeps accounts in Redis") {
		t.Errorf("the wrong way round: %q", got)
	}
	c.Storage.URL = "redis://localhost/1"
	if got := warningsOf(c); got != "" {
		t.Errorf("two of Redis: %q", got)
	}
	if got := warningsOf(config.Default()); got != "clients: there are none, so nobody can sign in" {
		t.Errorf("without clients: %q", got)
	}
}

func warningsOf(c config.Config) string {
	var lines []string
	for _, w := range c.Warnings() {
		lines = append(lines, w.String())
	}
	return strings.Join(lines, "\n")
}

// TestStorageVariables checks that both URLs come from variables and from files of
// their own.
func TestStorageVariables(t *testing.T) {
	const tokens, accounts = "redis://:hunter2@localhost/1", "postgres://ann:hunter2@localhost/x"
	for name, environ := range map[string][]string{
		"values": {"LETTERGATE_STORAGE_URL=" + tokens, "LETTERGATE_STORAGE_ACCOUNTS_URL=" + accounts},
		"files": {
			"LETTERGATE_STORAGE_URL_FILE=" + write(t, "url", tokens+"\n"),
			"LETTERGATE_STORAGE_ACCOUNTS_URL_FILE=" + write(t, "accounts", accounts+"\n"),
		},
	} {
		c := load(t, "storage: {url: 'sqlite:a.db', accounts_url: 'sqlite:b.db'}", environ...)
		if c.Storage.URL != tokens || c.Storage.AccountsURL != accounts {
			t.Errorf("%s: %s and %s", name, config.Redacted(c.Storage.URL), config.Redacted(c.Storage.AccountsURL))
		}
	}
	got := strings.Join(faultLines(t, "", "LETTERGATE_STORAGE_ACCOUNTS_URL=", "LETTERGATE_STORAGE_URL=http://hunter2"), "\n")
	for _, want := range []string{
		"LETTERGATE_STORAGE_ACCOUNTS_URL: storage.accounts_url: is empty: give it a value or unset it",
		"LETTERGATE_STORAGE_URL: storage.url: is not allowed: write sqlite:",
	} {
		if !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
