package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lettergate/lettergate/provider/storage"
)

// How a server is reached cannot be seen from outside without one that has TLS, so
// these tests look in.

// tls says how the servers of a URL are reached, each on its own.
func tlsOf(t *testing.T, s string) string {
	t.Helper()
	got, err := parsePostgresURL(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	c := got.pool.ConnConfig
	servers := append([]*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	var ways []string
	for _, f := range servers {
		switch cfg := f.TLSConfig; {
		case cfg == nil:
			ways = append(ways, "plain")
		case !cfg.InsecureSkipVerify && cfg.ServerName == f.Host:
			ways = append(ways, "verified")
		case cfg.VerifyPeerCertificate != nil:
			ways = append(ways, "chain")
		default:
			ways = append(ways, "unverified")
		}
	}
	return strings.Join(ways, " ")
}

func TestPostgresTLS(t *testing.T) {
	t.Setenv("HOME", t.TempDir()) // no certificates there
	for _, env := range []string{"", "disable", "prefer"} {
		t.Setenv("PGSSLMODE", env)
		t.Setenv("PGTARGETSESSIONATTRS", "standby")
		for s, want := range map[string]string{
			// What leaves the machine is encrypted, for the server that was meant.
			"postgres://db.example/x":                       "verified",
			"postgresql://u:p@db.example:6432/x":            "verified",
			"postgres://10.0.0.1/x?sslmode=":                "verified",
			"postgres://[2001:db8::1]/x":                    "verified",
			"postgres://a.example,b.example:5433/x":         "verified verified",
			"postgres:///x?host=db.example":                 "verified",
			"postgres:///x?host=%2Frun%2Fpg,db.example":     "plain verified",
			"postgres://localhost,db.example/x":             "verified verified",
			"postgres://localhost.example/x":                "verified",
			"postgres://127.0.0.1.example/x":                "verified",
			"postgres://db.example/x?schema=a&max_conns=20": "verified",
			// What does not may do without.
			"postgres://localhost/x":                  "unverified plain",
			"postgres://127.0.0.1:5432/x":             "unverified plain",
			"postgres://127.8.8.8/x":                  "unverified plain",
			"postgres://[::1]/x":                      "unverified plain",
			"postgres:///x?host=/run/postgresql":      "plain",
			"postgres://%2Frun%2Fpostgresql:5433/x":   "plain",
			"postgres://localhost/x?sslmode=":         "unverified plain",
			"postgres://localhost/x?sslmode=disable":  "plain",
			"postgres://db.example/x?sslmode=disable": "plain", // the operator's word
			"postgres://db.example/x?sslmode=require": "unverified",
			"postgres://db.example/x?sslmode=prefer":  "unverified plain",
		} {
			if got := tlsOf(t, s); got != want {
				t.Errorf("PGSSLMODE=%s, %s is reached %s, want %s", env, s, got, want)
			}
		}
	}
}

func TestPostgresURLDefaults(t *testing.T) {
	parse := func(s string) target {
		got, err := parsePostgresURL(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return got
	}
	got := parse("postgres://u:p@a.example/x")
	if got.schema != "lettergate" || got.pool.MaxConns != 16 || got.pool.ConnConfig.ValidateConnect != nil {
		t.Errorf("defaults: schema %q, %d connections, target_session_attrs set: %v",
			got.schema, got.pool.MaxConns, got.pool.ConnConfig.ValidateConnect != nil)
	}
	if parse("postgres://a.example,b.example/x").pool.ConnConfig.ValidateConnect == nil {
		t.Error("one of several servers is taken though it takes no writes")
	}
	if parse("postgres://a.example,b.example/x?target_session_attrs=any").pool.ConnConfig.ValidateConnect != nil {
		t.Error("target_session_attrs=any is ignored")
	}
	got = parse("postgres://u:p%3F%40ss@a.example/x?schema=_a1&max_conns=3&application_name=a%20b%2Bc&synchronous_commit=off&options=-c%20geqo%3Doff")
	settings := maps.Clone(got.pool.ConnConfig.RuntimeParams)
	delete(settings, "timezone") // of PGTZ
	want := map[string]string{"application_name": "a b+c", "synchronous_commit": "off", "options": "-c geqo=off"}
	if got.schema != "_a1" || got.pool.MaxConns != 3 || got.pool.ConnConfig.Password != "p?@ss" || !maps.Equal(settings, want) {
		t.Errorf("schema %q, %d connections, settings %q", got.schema, got.pool.MaxConns, settings)
	}
}

func TestCheckPostgresURL(t *testing.T) {
	for s, says := range map[string]string{
		"":                                                       "postgres://",
		"sqlite:///hunter2":                                      "postgres://",
		"host=h password=hunter2":                                "postgres://",
		"postgres://h/x?sslmod=disable":                          `"sslmod"`,
		"postgres://h/x?search_path=a":                           `"search_path"`,
		"postgres://h/x?pool_max_conns=3":                        `"pool_max_conns"`,
		"postgres://h/x?ssl=true":                                `"ssl"`,
		"postgres://h/x?service=s":                               `"service"`,
		"postgres://h/x?schema=A":                                "schema must be",
		"postgres://h/x?schema=":                                 "schema must be",
		"postgres://h/x?schema=1a":                               "schema must be",
		"postgres://h/x?schema=a.b":                              "schema must be",
		"postgres://h/x?max_conns=0":                             "max_conns must be",
		"postgres://h/x?max_conns=1001":                          "max_conns must be",
		"postgres://h/x?max_conns=many":                          "max_conns must be",
		"postgres://h/x?sslmode=never":                           "sslmode",
		"postgres://h/x?sslrootcert=/none/at":                    "/none/at",
		"postgres://h/x?connect_timeout=soon":                    "soon",
		"postgres://h/x?synchronous_commit=%zz":                  "%XX",
		"postgres://h/x?default_query_exec_mode=simple_protocol": "default_query_exec_mode must be",
		"postgres://h/x?target_session_attrs=standby":            "target_session_attrs must be",
		"postgres://h/x?target_session_attrs=prefer-standby":     "target_session_attrs must be",
		"postgres://h:1,h:2,h:3:4/x":                             "must look like",
		"postgres://u:hunter2@h:99999/x":                         "must look like",
		"postgres://u:hunter2%zz@h/x":                            "must look like",
		"postgres://u:hunter2":                                   "must look like",
		"postgres://u:hunter2/x?hunter2=1":                       "must look like",
		"postgres://u:a/hunter2?hunter2=b@h/x":                   "%40",
		"postgres://u:a@hunter2@h/x":                             "%40",
		"postgres://u:hunter2@h/x?password=hunter2@":             "%40",
	} {
		err := CheckPostgresURL(s)
		if !errors.Is(err, storage.ErrUnfit) || !strings.Contains(fmt.Sprint(err), says) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v; want ErrUnfit saying %q", s, err, says)
		}
	}
	for _, s := range []string{
		"postgres://u:p@h:5432/x",
		"postgres://u:p?a=b@h/x?sslmode=require",
		"postgres://h1:1,h2:2/x?target_session_attrs=primary&connect_timeout=2",
		"postgresql:///x?host=/run/postgresql&port=5433&user=u&password=p&application_name=a%40b",
	} {
		if err := CheckPostgresURL(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func FuzzPostgresURL(f *testing.F) {
	f.Add("h/x?sslmode=disable", "hunter2secret")
	f.Add("h1,h2:5/x?schema=%zz", "hunter2@secret")
	f.Add("[::1]/x?a=b&&=", "hunter2/?secret")
	f.Add(":1/?", "%zzhunter2")
	f.Fuzz(func(t *testing.T, rest, password string) {
		if len(password) < 8 || strings.Contains(rest, password) {
			return
		}
		got, err := parsePostgresURL("postgres://u:" + password + "@" + rest)
		if err != nil {
			if !errors.Is(err, storage.ErrUnfit) || strings.Contains(err.Error(), password) {
				t.Errorf("%v: not ErrUnfit, or it shows the password", err)
			}
			return
		}
		c := got.pool.ConnConfig
		for name := range c.RuntimeParams {
			if name != "timezone" && !slices.Contains(urlParameters, name) {
				t.Errorf("the setting %q is sent to the server", name)
			}
		}
	})
}

// What the server or the network says becomes what the contract knows.
func TestPostgresFaults(t *testing.T) {
	for code, want := range map[string]error{
		"57P01": storage.ErrUnavailable, // admin shutdown
		"57P02": storage.ErrUnavailable,
		"57P03": storage.ErrUnavailable, // in recovery
		"57014": storage.ErrUnavailable, // statement timeout
		"55P03": storage.ErrUnavailable, // lock timeout
		"53100": storage.ErrUnavailable, // disk full
		"53200": storage.ErrUnavailable,
		"53300": storage.ErrUnavailable, // too many connections
		"40001": storage.ErrUnavailable, // serialization
		"40P01": storage.ErrUnavailable, // deadlock
		"25006": storage.ErrUnavailable, // read only
		"08006": storage.ErrUnavailable,
		"58030": storage.ErrUnavailable, // I/O
		"XX000": storage.ErrUnavailable,
		"":      storage.ErrUnavailable,
		"42P01": storage.ErrUnfit, // no such table
		"42883": storage.ErrUnfit, // no such function
		"42703": storage.ErrUnfit, // no such column
		"42501": storage.ErrUnfit, // no right
		"28P01": storage.ErrUnfit, // password
		"28000": storage.ErrUnfit,
		"3D000": storage.ErrUnfit, // no such database
		"3F000": storage.ErrUnfit, // no such schema
		"23505": storage.ErrUnfit,
		"22003": storage.ErrUnfit,
		"42P05": storage.ErrUnfit, // a prepared statement of somebody else
		"26000": storage.ErrUnfit, // or one that is not there
		"XX001": storage.ErrUnfit, // damaged
		"XX002": storage.ErrUnfit,
	} {
		said := &pgconn.PgError{Severity: "ERROR", Code: code, Message: "message", Detail: "secret", Hint: "secret", Where: "secret", InternalQuery: "secret"}
		err := postgresFault(context.Background(), fmt.Errorf("doing: %w", said))
		other := storage.ErrUnfit
		if want == storage.ErrUnfit {
			other = storage.ErrUnavailable
		}
		if !errors.Is(err, want) || errors.Is(err, other) || errors.Is(err, storage.ErrConflict) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %v", code, err, want)
		}
	}
	err := postgresFault(context.Background(), errors.Join(io.ErrUnexpectedEOF, errors.New("another")))
	if !errors.Is(err, storage.ErrUnavailable) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a network failure is %q", err)
	}
}

// A gate with connections that are made and fail when the test says so.
type gateTest struct {
	*testing.T
	gate
	made     chan error   // one for each attempt to connect
	attempts atomic.Int64 // to connect
	in, out  atomic.Int64 // callers who entered, and who left with an error
}

func newGateTest(t *testing.T) *gateTest {
	g := &gateTest{T: t, made: make(chan error)}
	g.most = 3
	g.connect = func() error {
		g.attempts.Add(1)
		err := <-g.made
		if err == nil {
			g.gate.made()
		}
		return err
	}
	return g
}

func (g *gateTest) come(ctx context.Context) {
	go func() {
		if g.enter(ctx) == nil {
			g.in.Add(1)
		} else {
			g.out.Add(1)
		}
	}()
	synctest.Wait()
}

func (g *gateTest) is(attempts, in, out int64) {
	g.Helper()
	synctest.Wait()
	if g.attempts.Load() != attempts || g.in.Load() != in || g.out.Load() != out {
		g.Fatalf("%d attempts to connect, %d callers are in, %d left; want %d, %d, %d",
			g.attempts.Load(), g.in.Load(), g.out.Load(), attempts, in, out)
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateTest(t)
		g.come(t.Context())
		g.is(1, 0, 0)
		for range 9 {
			g.come(t.Context())
		}
		g.is(newcomers, 0, 0)
		g.made <- nil
		g.is(newcomers+1, 1, 0)
		g.leave() // and the next has his connection
		g.is(newcomers+1, 2, 0)
		g.made <- nil
		g.is(newcomers+1, 3, 0) // the third is the last
		g.made <- errors.New("no")
		g.is(newcomers+1, 3, 0) // there are others to wait for
		ctx, cancel := context.WithCancel(t.Context())
		g.come(ctx) // which has another try made
		g.is(newcomers+2, 3, 0)
		cancel()
		g.is(newcomers+2, 3, 1)
		g.made <- nil
		g.is(newcomers+2, 4, 1)
		g.lost() // one that is in use; with it, his place goes
		g.leave()
		g.is(newcomers+2, 4, 1)
		for range 8 {
			g.leave()
		}
		g.is(newcomers+2, 10, 1) // all who came
		g.come(t.Context())
		g.come(t.Context())
		g.is(newcomers+2, 12, 1) // two connections are alive and free
		g.come(t.Context())      // and a third may be made
		g.is(newcomers+3, 12, 1)
		g.come(t.Context())
		g.is(newcomers+3, 12, 1)
		g.close()
		g.is(newcomers+3, 12, 3)
		g.made <- nil
		g.wait()
		g.is(newcomers+3, 12, 3)
	})
}

func TestGateWithoutServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateTest(t)
		for range 5 {
			g.come(t.Context())
		}
		g.made <- errors.New("refused")
		g.is(newcomers, 0, 5) // all are told at once
		g.made <- errors.New("refused")
		g.is(newcomers, 0, 5)
		g.come(t.Context())
		g.is(newcomers+1, 0, 5)
		g.made <- nil
		g.is(newcomers+1, 1, 5)
		g.wait()
	})
}
