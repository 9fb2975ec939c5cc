// Package sqlstore keeps a [storage.Store] in an SQL database: SQLite, in one file
// of this machine, or PostgreSQL, on a server that many machines share. The two
// have one schema and one meaning, and little else in common: each is written for
// what its database is good at.
//
// [Open] returns a [Store], on SQLite. Its invariant: whatever was acknowledged is
// in the file, in full, and every answer is what one order of all calls would have
// given. All writes of a Store go through one goroutine. It takes the calls that
// are waiting, runs them in one transaction, commits, and only then answers them;
// so a commit is shared by whoever waits for one. When a call among them fails,
// they are run again with a savepoint each, and it takes nobody with it. Reads run
// beside the writer, on connections of their own, and see the last commit.
//
// A commit survives the death of the process. Commits with accounts in them
// ([storage.Kind.Account]) are synced to the disk before they are acknowledged and
// survive a power failure too; others may lose their last moments to it, never
// their integrity. Several processes may use one file; they are safe, but not fair
// to each other. The file must be on a local disk.
//
// [OpenPostgres] returns a [Postgres]. Its invariant is the same, across all
// processes that use the database: every call is one statement, which is one
// transaction and one round trip. What takes several steps is a function in the
// schema. How durable a commit is, and on how many servers, is what the server is
// set to (synchronous_commit, synchronous_standby_names); but accounts are never
// acknowledged before they are on the disk.
//
// The files that begin with postgres are about PostgreSQL, the others about SQLite
// or both.
package sqlstore
