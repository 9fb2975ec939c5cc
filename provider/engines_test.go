package provider_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
	"github.com/lettergate/lettergate/provider/storage/servertest"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// Every test of this package runs on the engine that -engine names, in front of a
// real server that the test binary starts and ends:
//
//	go test ./provider -engine postgres
//
// sqlite is the default. split keeps accounts in PostgreSQL and the rest in Redis.
var engineName = flag.String("engine", "sqlite", "where state is kept: sqlite, postgres, redis, cluster or split")

// servers are the database servers of the engine, for the whole test binary.
type servers struct {
	postgres *servertest.Database
	redis    *servertest.Server
	cluster  *servertest.Cluster
}

var running servers // set by TestMain before any test runs

// startServers starts what the engine needs.
func startServers() (err error) {
	switch *engineName {
	case "sqlite":
	case "postgres":
		running.postgres, err = servertest.StartPostgres("")
	case "redis":
		running.redis, err = servertest.StartRedis("")
	case "cluster":
		running.cluster, err = servertest.StartRedisCluster("")
	case "split":
		if running.postgres, err = servertest.StartPostgres(""); err == nil {
			running.redis, err = servertest.StartRedis("")
		}
	default:
		err = fmt.Errorf("-engine %q: want sqlite, postgres, redis, cluster or split", *engineName)
	}
	return err
}

func (s *servers) close() {
	if s.postgres != nil {
		s.postgres.Close()
	}
	if s.redis != nil {
		s.redis.Close()
	}
	if s.cluster != nil {
		s.cluster.Close()
	}
}

// emptyStorage returns where a store is that holds nothing, on the engine under
// test.
func emptyStorage(t testing.TB) config.Storage {
	t.Helper()
	switch *engineName {
	case "postgres":
		return config.Storage{URL: config.Secret(running.postgres.New(t))}
	case "redis":
		return config.Storage{URL: redisURL()}
	case "cluster":
		return config.Storage{URL: config.Secret("redis+cluster://" + strings.Join(running.cluster.Addrs, ",") + "?prefix=" + rand.Text() + ":")}
	case "split":
		return config.Storage{URL: redisURL(), AccountsURL: config.Secret(running.postgres.New(t))}
	}
	return config.Storage{URL: config.Secret("sqlite://" + filepath.Join(t.TempDir(), "test.db"))}
}

func redisURL() config.Secret {
	return config.Secret("redis://" + running.redis.Addr + "?prefix=" + rand.Text() + ":")
}

// openStorage opens what at names, until the test ends.
func openStorage(t testing.TB, at config.Storage, now func() time.Time) storage.Store {
	t.Helper()
	store := openURL(t, at.URL.Reveal(), now)
	if at.AccountsURL != "" {
		store = storage.Split(openURL(t, at.AccountsURL.Reveal(), now), store)
	}
	return store
}

func openURL(t testing.TB, url string, now func() time.Time) (s storage.Store) {
	t.Helper()
	var err error
	switch scheme, path, _ := strings.Cut(url, "://"); {
	case scheme == "sqlite":
		s, err = sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Now: now})
	case scheme == "postgres":
		s, err = sqlstore.OpenPostgres(t.Context(), sqlstore.PostgresConfig{URL: url, Now: now})
	default:
		s, err = redisstore.Open(t.Context(), redisstore.Config{URL: url, Now: now})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dumpOf returns all that is stored, as the database keeps it.
func dumpOf(t *testing.T, at config.Storage) []byte {
	t.Helper()
	dump := dumpURL(t, at.URL.Reveal())
	if at.AccountsURL != "" {
		dump = append(dump, dumpURL(t, at.AccountsURL.Reveal())...)
	}
	return dump
}

func dumpURL(t *testing.T, url string) []byte {
	t.Helper()
	switch scheme, path, _ := strings.Cut(url, "://"); scheme {
	case "sqlite":
		return dumpFiles(t, path)
	case "postgres":
		return dumpTables(t, url)
	}
	if running.cluster == nil {
		return dumpKeys(t, running.redis.Addr)
	}
	var dump []byte
	for _, addr := range running.cluster.Addrs {
		dump = append(dump, dumpKeys(t, addr)...)
	}
	return dump
}

// dumpFiles returns the bytes of every file of an SQLite database.
func dumpFiles(t *testing.T, path string) []byte {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no database at %s: %v", path, err)
	}
	var dump []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		dump = append(dump, b...)
	}
	return dump
}

// dumpTables returns every row of every table, its bytes as they are.
func dumpTables(t *testing.T, url string) []byte {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	var dump bytes.Buffer
	for _, table := range tables {
		if _, err := conn.PgConn().CopyTo(t.Context(), &dump, "COPY "+table+" TO STDOUT (FORMAT binary)"); err != nil {
			t.Fatal(err)
		}
	}
	return dump.Bytes()
}

// dumpKeys returns every key of a Redis server with what is under it. Values come
// as they are, so that the compression of a DUMP hides nothing.
func dumpKeys(t *testing.T, addr string) []byte {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var dump bytes.Buffer
	for _, key := range keys {
		dump.WriteString(key)
		kind, err := client.Type(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		switch kind {
		case "string":
			parts = []string{client.Get(t.Context(), key).Val()}
		case "hash":
			for field, value := range client.HGetAll(t.Context(), key).Val() {
				parts = append(parts, field, value)
			}
		case "zset":
			parts = client.ZRange(t.Context(), key, 0, -1).Val()
		case "none": // expired meanwhile
		default:
			t.Fatalf("a key of type %s: this dump does not know how to read it", kind)
		}
		for _, part := range parts {
			dump.WriteByte('\n')
			dump.WriteString(part)
		}
	}
	return dump.Bytes()
}

// storageJSON is at for the environment of a process.
func storageJSON(at config.Storage) string {
	text, err := json.Marshal([]string{at.URL.Reveal(), at.AccountsURL.Reveal()})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func storageFromJSON(text string) (config.Storage, error) {
	var urls [2]config.Secret
	err := json.Unmarshal([]byte(text), &urls)
	return config.Storage{URL: urls[0], AccountsURL: urls[1]}, err
}
