// Package servertest starts real Redis and PostgreSQL servers for tests: an
// engine's own tests, and those of a program that embeds the provider.
//
// Its invariant: a server belongs to whoever started it. It listens on a free
// port of 127.0.0.1, keeps all it writes in a folder of its own, and ends, and
// its folder with it, at the end of the test or with Close. On Linux it also
// dies with the test's process, however that ends.
//
// The programs come from the machine: redis-server, and initdb, postgres and
// psql. A test that needs one that is missing fails and says what to install.
//
// [Redis], [RedisTLS], [RedisCluster] and [Postgres] are for tests and end what
// they start with the test. [StartRedis] and its like are for TestMain, which
// has no test to fail: who calls them calls Close. [NewProxy] stands between a
// client and a server, and fails in the ways networks do.
package servertest
