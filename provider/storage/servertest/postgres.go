package servertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	superuser = "postgres"
	owner     = "lettergate" // of the databases that New makes
	runBound  = 30 * time.Second

	// lockWords are in the lock file of a server that has been ready: process
	// id, data, time, port, folder of the socket, address, key and id of the
	// shared memory, state.
	lockWords = 9
)

// A Database is one PostgreSQL server. Its methods are for concurrent use.
type Database struct {
	// Addr is its address, 127.0.0.1 and a port. It stays the same when the
	// server is started again.
	Addr string
	// AdminURL is the URL of the database postgres for the superuser, who may
	// end sessions of others and change settings.
	AdminURL string

	dir      string // log, and the data in a folder of the server's user
	bin      programs
	runAs    *account
	password string // of both users
	mu       sync.Mutex
	process  *process
	closed   bool

	names sync.Mutex
	made  int // databases by New
}

// Postgres starts a PostgreSQL server that ends with the test. To start one
// takes a second or two: tests share it, each with a database of its own from
// [Database.New], unless they stop it.
//
// conf are lines of postgresql.conf, such as "max_connections = 5". The server
// allows 200 connections and does not sync to disk (fsync = off): a process that
// is killed loses nothing by that, a measurement says "fsync = on".
func Postgres(t testing.TB, conf ...string) *Database {
	t.Helper()
	d, err := StartPostgres("", conf...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report(t, d.Close()) })
	return d
}

// StartPostgres is Postgres where there is no test to end the server: who calls
// it calls Close. The server's folder is made in dir, or in the system's for
// temporary files when dir is "". For root the server runs as the user postgres
// or nobody, who must be able to pass through dir.
func StartPostgres(dir string, conf ...string) (*Database, error) {
	bin, err := findPostgres(places()...)
	if err != nil {
		return nil, err
	}
	d := &Database{bin: bin, password: rand.Text()}
	if d.runAs, err = unprivileged(); err != nil {
		return nil, err
	}
	if d.dir, err = folder(dir, "postgres"); err != nil {
		return nil, err
	}
	if err = d.initialize(); err == nil {
		err = d.firstStart(conf)
	}
	if err == nil {
		_, err = d.Query(d.AdminURL, "CREATE ROLE "+owner+" LOGIN PASSWORD '"+d.password+"'")
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Database) file(name string) string { return filepath.Join(d.dir, name) }
func (d *Database) data() string            { return d.file("data") }

// initialize makes the server's files, as the user it runs as.
func (d *Database) initialize() error {
	secret := d.file("password")
	if err := os.WriteFile(secret, []byte(d.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the password for initdb: %w", err)
	}
	defer os.Remove(secret)
	if err := os.Mkdir(d.data(), 0o700); err != nil {
		return fmt.Errorf("make a folder for the data: %w", err)
	}
	for _, path := range []string{secret, d.data()} {
		if err := d.runAs.give(path); err != nil {
			return fmt.Errorf("give the data to the server's user: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), runBound)
	defer cancel()
	cmd := d.runAs.as(exec.CommandContext(ctx, d.bin.initdb, "--pgdata="+d.data(), "--username="+superuser,
		"--pwfile="+secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"))
	cmd.Dir, cmd.Env = d.dir, d.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w; it said:\n%s", err, out)
	}
	return nil
}

// environment is that of the programs: nothing of PGHOST and its like.
func (d *Database) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "LC_ALL=C", "TZ=UTC"}
}

// firstStart starts the server on a port that is free.
func (d *Database) firstStart(conf []string) error {
	var err error
	for range portTries {
		var port int
		if port, err = freePort(); err != nil {
			return err
		}
		d.Addr = address(port)
		d.AdminURL = d.url(superuser, "postgres")
		if err = d.configure(port, conf); err != nil {
			return err
		}
		if err = d.Start(); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

// configure writes the settings that differ from those of initdb. In that file
// the last line about a setting wins.
func (d *Database) configure(port int, conf []string) error {
	lines := []string{
		"listen_addresses = '127.0.0.1'",
		"port = " + strconv.Itoa(port),
		"unix_socket_directories = '" + strings.ReplaceAll(d.data(), "'", "''") + "'",
		"max_connections = 200",
		"fsync = off",
		"full_page_writes = off",
		"dynamic_shared_memory_type = mmap", // files in the data, which are removed with it
		"log_timezone = 'UTC'",
		"timezone = 'UTC'",
	}
	text := strings.Join(append(lines, conf...), "\n") + "\n"
	name := filepath.Join(d.data(), "postgresql.auto.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the settings of postgres: %w", err)
	}
	return nil
}

// Start starts the server again on the same port with the data it had, and
// returns when it takes queries. It fails when the server runs.
func (d *Database) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return errors.New("postgres was closed and cannot be started again")
	case d.process.running():
		return errors.New("postgres already runs")
	}
	os.Remove(d.file("log")) // that of the run before
	cmd := d.runAs.as(exec.Command(d.bin.postgres, "-D", d.data()))
	cmd.Dir, cmd.Env = d.dir, d.environment()
	p, err := run(cmd, d.file("log"))
	if err != nil {
		return err
	}
	if err := p.await(d.file("log"), func() bool { return d.ready(p.cmd.Process.Pid) }); err != nil {
		return err
	}
	d.process = p
	return nil
}

// ready tells whether process pid takes queries.
func (d *Database) ready(pid int) bool {
	lock := d.lock()
	return len(lock) > 0 && lock[0] == strconv.Itoa(pid) && lock[len(lock)-1] == "ready"
}

// lock is what the server says in its lock file, word by word: its process id
// first, how far it is last. It is ours and not another server on the port.
func (d *Database) lock() []string {
	text, err := os.ReadFile(filepath.Join(d.data(), "postmaster.pid"))
	if err != nil {
		return nil // there is none before it starts
	}
	return strings.Fields(string(text))
}

// Stop ends the server and its clients' sessions as an administrator does
// ("fast"), after ten seconds with SIGKILL and an error. A server that does not
// run is left as it is.
func (d *Database) Stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process.end(endFast)
}

// Kill ends the server and all its processes at once (SIGKILL). A server that
// does not run is left as it is.
func (d *Database) Kill() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process.kill()
}

// Pause stops the server and all its processes in their tracks (SIGSTOP):
// connections stay open and can be made, and nothing answers until Resume. It
// works on Unix systems only.
func (d *Database) Pause() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.process.running() {
		return errors.New("pause postgres: it does not run")
	}
	return d.process.each(stopSignal)
}

// Resume ends a Pause.
func (d *Database) Resume() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.process.running() {
		return errors.New("resume postgres: it does not run")
	}
	return d.process.each(contSignal)
}

// Close ends the server at once and removes its folder. Further calls do
// nothing.
func (d *Database) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	err := d.process.end(endNow)
	if lock := d.lock(); len(lock) >= lockWords {
		// It was killed, and its System V shared memory, a few bytes of which
		// a system has 4096 pieces, would stay until the next boot.
		exec.Command("ipcrm", "-m", lock[len(lock)-2]).Run()
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// Log is the end of what the server has said since it was started last.
func (d *Database) Log() string { return tail(d.file("log")) }

// New makes an empty database and returns its URL, with the name and password
// of a user who owns it and is no superuser. options are those of CREATE
// DATABASE, such as "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"; without them it
// has UTF-8 and sorts by code points.
func (d *Database) New(t testing.TB, options ...string) string {
	t.Helper()
	u, err := d.Create(options...)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Create is New where there is no test to fail.
func (d *Database) Create(options ...string) (string, error) {
	d.names.Lock()
	d.made++
	name := "test" + strconv.Itoa(d.made)
	d.names.Unlock()
	sql := "CREATE DATABASE " + name + " OWNER " + owner + " TEMPLATE template0 " + strings.Join(options, " ")
	if _, err := d.Query(d.AdminURL, sql); err != nil {
		return "", err
	}
	return d.url(owner, name), nil
}

func (d *Database) url(name, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(name, d.password), Host: d.Addr, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Query runs sql with psql on a database by its URL and returns what it prints:
// a line for each row, with | between the columns. An error of the server is
// returned with its text.
func (d *Database) Query(database, sql string) (string, error) {
	u, err := url.Parse(database)
	if err != nil || u.User == nil {
		return "", errors.New("query postgres: the database is not a URL with a user")
	}
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username()) // arguments can be seen by all
	ctx, cancel := context.WithTimeout(context.Background(), runBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.bin.psql, "-XqAtw", "-v", "ON_ERROR_STOP=1", "-d", u.String(), "-c", sql)
	cmd.Env = append(d.environment(), "PGPASSWORD="+password)
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
