package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// The configuration knows the URLs of stores, and so does each engine, because
// neither imports the other. Here they are compared.

// engineFault returns why an engine does not take a URL, nil when it would connect.
func engineFault(url string) error {
	if config.StorageEngine(config.Secret(url)) == config.EnginePostgres {
		return sqlstore.CheckPostgresURL(url)
	}
	return redisstore.Config{URL: url}.Check()
}

func configFault(url string) error {
	cfg := config.Default()
	cfg.Storage.URL = config.Secret(url)
	return cfg.Validate()
}

func TestEnginesTakeTheURLsThatTheConfigurationTakes(t *testing.T) {
	for _, url := range []string{
		"postgres://db.internal/lettergate",
		"postgresql://ann:a%40%2F%25b:c@db:5433/x?sslmode=verify-full",
		"postgres://ann@[2001:db8::1]:5432/a%20b",
		"postgres://db1,db2:5433/x?target_session_attrs=read-write&schema=gate_1&max_conns=1000",
		"postgres:///x?host=/run/postgresql&port=5433&user=ann&password=b",
		"postgres://ann:b@%2Frun%2Fpostgresql/x",
		"postgres://db?dbname=x&user=ann",
		"postgres://db/x?application_name=a%20b%26c&connect_timeout=5&synchronous_commit=remote_apply&options=-c%20statement_timeout%3D5s",
		"postgres://db/x?sslmode=require&channel_binding=require&sslnegotiation=direct&require_auth=scram-sha-256",
		"postgres://db/x?sslmode=disable&channel_binding=disable&sslnegotiation=postgres&sslcertmode=disable",
		"postgres://db/x?sslmode=allow&sslcertmode=allow&channel_binding=prefer&target_session_attrs=primary",
		"postgres://db/x?sslmode=prefer&target_session_attrs=any&default_query_exec_mode=cache_describe",

		"redis://cache", "redis://cache/", "redis://:a%40b%25@127.0.0.1:6379/65535", "redis://[2001:db8::1]", "redis://[::1]:6380/1",
		"rediss://ann:b@cache:6380/0?prefix=login%3A&wait=100",
		"redis://cache?prefix=" + strings.Repeat("a", 64),
		"redis+cluster://ann:b@a:7000,b,[::1]:7000", "rediss+cluster://a", "redis+cluster://a/0",
		"redis+sentinel://ann:b@a:26379,b/my-master.1/3", "rediss+sentinel://a/m?sentinel_username=c&sentinel_password=d",
	} {
		if err := configFault(url); err != nil {
			t.Errorf("%s: the configuration: %v", url, err)
		}
		if err := engineFault(url); err != nil {
			t.Errorf("%s: the engine: %v", url, err)
		}
	}
}

func TestTheConfigurationRefusesWhatEnginesRefuse(t *testing.T) {
	for _, url := range []string{
		"postgres://db/x?schema=A", "postgres://db/x?max_conns=0", "postgres://db/x?max_conns=1001", "postgres://db/x?target_session_attrs=standby",
		"postgres://db/x?sslmode=on", "postgres://db/x?default_query_exec_mode=exec", "postgres://db/x?channel_binding=x", "postgres://db/x?sslcertmode=x",
		"postgres://db/x?connect_timeout=x", "postgres://db:70000/x", "postgres://a:b@c@db/x", "postgres://db/x?prefix=a",
		"redis://a,b", "redis://a/65536", "redis://a/x", "redis://b@a", "redis://a:70000", "redis://:6379", "redis://c:d@b@a",
		"redis://a?wait=101", "redis://a?wait=-1", "redis://a?ca_file=/ca.pem", "redis://a?prefix=%7B", "redis://a?prefix=" + strings.Repeat("a", 65),
		"redis://a?schema=a", "redis://a?sentinel_password=b", "redis+sentinel://a/m?sentinel_username=b", "redis+sentinel://a", "redis+cluster://a/1",
	} {
		if configFault(url) == nil || engineFault(url) == nil {
			t.Errorf("%s: the configuration says %v, the engine %v", url, configFault(url), engineFault(url))
		}
	}
}

var parameterList = regexp.MustCompile(`known are ([a-z_, ]+)`)

// parameters returns the names that a fault about an unknown parameter lists.
func parameters(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		t.Fatal("an unknown parameter is taken")
	}
	list := parameterList.FindStringSubmatch(err.Error())
	if list == nil {
		t.Fatalf("%v: lists no parameters", err)
	}
	names := strings.FieldsFunc(strings.ReplaceAll(list[1], " and ", ","), func(r rune) bool { return r == ',' || r == ' ' })
	names = slices.DeleteFunc(names, func(name string) bool { return name == "not" })
	slices.Sort(names)
	return names
}

func TestParametersOfURLs(t *testing.T) {
	for _, url := range []string{"postgres://db/x?QQQQQQQQQQQQQQ=1", "redis://cache?QQQQQQQQQQQQQQ=1"} {
		want, got := parameters(t, engineFault(url)), parameters(t, configFault(url))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -engine +configuration:\n%s", url, diff)
		}
	}
}
