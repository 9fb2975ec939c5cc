// Package redisstore keeps a [storage.Store] in Redis 6.2 or newer, or what is
// compatible with it: one server, a master that sentinels name, or a Redis Cluster.
//
// Its invariant: each decision is one script on one server, and nothing that writes is
// ever sent twice. A script runs whole and alone; so of several Puts that replace the
// same version one wins, and a call whose answer is lost has happened once or not at
// all. In a cluster no command touches two keys. What is expired is decided by the
// caller's clock, which goes into each script. Redis' own expiry, five minutes later,
// only collects garbage, and nothing else may remove keys: a server that evicts is
// refused.
//
// # What is stored
//
// A record is one string: a header with its version, expiry, sort and groups, and the
// value. A counter is one hash. A group is one sorted set of entries, ordered by the
// record's sort and then by its key. A member is the key in a form whose bytes are
// ordered as keys are, and a mark that no two entries of a record share: when the entry
// was made, and a random number. The record knows the mark of its present entries.
//
// # How a Put walks
//
// On one server the script is given the record and its groups. It compares, makes the
// entries, stores the record and removes its former entries: one step, one round trip.
//
// In a cluster the groups are elsewhere, so they are told first. An entry without a
// record is skipped by whoever lists; a record without its entry would be missed, and
// never is. A new record is announced to all its groups at once and then stored, in two
// round trips. One that replaces another keeps its entries as a rule, and is stored in
// one; if its sort changes, or its groups would not live as long as it does, the script
// writes nothing and says so, and the record is announced under a new mark and then
// stored. Entries that remain of a Put that lost, crashed or was followed by another
// bear a mark that no record has. Those of a record that was replaced are kept for a
// while: a failover may bring it back, and its groups are on another node.
//
// A group lives as long as the records in it, by the most generous of them: at least an
// hour longer, and half as long again as it had to live when it joined, so that one
// which is extended every few minutes seldom tells its groups.
//
// # How a List walks
//
// A script finds the place where the page begins, by halves where many have the same
// sort, and returns the entries behind it. Their records are read in one round trip to
// each server, and those are returned that are in this group at this place now. So a
// page may be short, and a record that has two entries there is shown once.
//
// # Garbage
//
// An entry is garbage when it is ten minutes old and its record is absent or has
// another mark, as old as that. List removes what it meets. And because a group in use may never be
// listed, whenever it has reached a multiple of 32 entries by a Put, the store's one
// background goroutine draws 64 of them, removes the garbage, and goes on for as long
// as a quarter was. So a group in which records keep being put has at most about half
// as much garbage as living entries, 64 more, and what has become garbage in the last
// ten minutes.
//
// # What survives what
//
// A Put is acknowledged when the master has it in memory; the rest is configuration.
//
//	failure                    what acknowledged writes may be lost
//	the program dies           none
//	redis-server dies          appendonly yes: none, unless everysec meets a disk that
//	                           takes seconds; save alone: those since the last
//	                           snapshot; neither: all
//	the machine dies           appendfsync always: none; everysec: those of the last
//	                           two seconds; no: those of the last half minute
//	a replica is promoted      those it had not received: usually milliseconds, with no
//	                           bound while it lags. wait=1: none, if the replica that
//	                           has them is the one that is promoted
//	a cluster is split         those to a master that was cut off with the caller, for
//	                           cluster-node-timeout. wait=1: none
//
// With wait=N a call returns success only when N replicas have received the write. If
// they have not within 300 ms, the error is ErrUnavailable and ErrNotDurable: the write
// has been made, may be lost, and is not found out by reading. So code that was used
// stays used through a failover, or its user was never told that it was. A replica has
// received a write before it is on its disk: wait protects from the death of machines,
// appendfsync from that of all at once. Nothing is lost for certain when N is the
// number of all replicas, so that whichever is promoted has it; then the death of one
// stops all writes. With fewer, it depends on who is promoted: Sentinel and cluster
// choose the one that has the most, as far as they knew a moment ago, and nothing is
// lost while the replicas keep up with each other. min-replicas-to-write stops a master
// that nobody follows; it is no substitute for wait, but a good companion.
//
// A master that has been replaced and does not know it yet may still be read from, for
// the second or so that it takes the client to notice. No decision rests on a read.
// Clocks of several programs may differ by five minutes.
//
// Accounts belong on a server with appendonly yes and appendfsync always, or in another
// store: see [storage.Split].
//
// # Memory
//
// maxmemory-policy must be noeviction; Open refuses any other on any master, because an
// evicted record is a code that can be used twice. A full server refuses what would
// grow, whole, with ErrUnavailable; reads and Delete go on. A record takes about 150
// bytes more than its key and value, and about 100 and its key for each group.
//
// # Users
//
// The server's user needs no more than this, and the last two commands in a cluster
// only; select is for a database other than 0, wait for the parameter:
//
//	user lettergate on >password resetchannels ~lettergate:* -@all +info +ping +select
//	+eval +evalsha +get +set +getrange +setrange +del +hget +hset +hincrby +pexpire
//	+persist +pttl +zadd +zrem +zcard +zcount +zrange +zrandmember +wait +asking
//	+cluster|slots
//
// Without +info, Open cannot see the eviction policy unless there is +config|get; it
// then warns in the log.
//
// # Limits
//
// Every call is answered within a second, whatever Redis does; it takes up to 32
// connections to each server, and a caller who gets none in 300 ms is refused. A proxy
// that spreads the keys of one address over several servers is not supported: its
// servers are addressed as a cluster. With TLS the nodes of a cluster must announce
// names or addresses that stand in their certificates.
package redisstore
