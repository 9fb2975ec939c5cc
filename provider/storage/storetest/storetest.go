// Package storetest is the contract of [storage.Store] as a test suite, with
// stores that are slow, faulty or no better than the contract demands.
//
// Its invariant: whatever passes [Run] can carry a Lettergate, and whatever a
// Lettergate needs is checked by Run. An engine runs all of it, concurrency
// included; there is no way to leave a part out.
//
// Code above the store is tested with the decorators. [Weakest] is the least that
// the contract allows: a flow that is right on it is right on every engine.
// [Faulty] fails chosen calls, [Slow] delays them, and [Count] counts them and the
// waits of a request.
//
// # Writing an engine
//
// An engine is a type with the seven methods of storage.Store, for a database that
// can do two things: change one record under a condition, and list keys in an order.
// Its test is
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
//			s, err := Open(t.Context(), Config{Table: newTable(t), Now: now})
//			if err != nil {
//				t.Fatal(err)
//			}
//			t.Cleanup(func() { s.Close() })
//			return s
//		})
//	}
//
//	func Benchmark(b *testing.B) { storetest.Bench(b, ...) }
//
// against a real database that the test starts or is given, never a mock of one.
// Build with the tag full to run it with longer races and more random operations.
//
// What most engines get wrong first:
//
//   - Put is one conditional write: absent, or expired, or of version Prev. When the
//     condition fails, the version that is stored decides: it is r.Version, then Put
//     succeeds; or it is another, then it is ErrConflict. The groups are compared
//     last, so a writer who is late gets ErrConflict whatever they are.
//   - A client library that sends a command again when its reply was lost makes two
//     Puts of one version, which may even run at the same time. Both succeed. An Add
//     has nothing to be recognised by, so it must not be sent again.
//   - Expiry is judged by the clock that the engine was opened with and by nothing
//     else. A database that removes items by itself works by its own clock: give it a
//     time that is minutes later, computed as a duration from the engine's clock, and
//     let it only collect what List, Get and Put count as absent already. Where an
//     index can expire as a whole, nothing but the longest life in it counts.
//   - An index that is written apart from the record is written before it, and List
//     leaves out what it finds no record for, or a record that has another Sort or is
//     not in that group. A Put that was refused, or died between the two writes, has
//     left such an entry. To remove it is a race against the next Put of that key.
//   - Keys, group names and values are bytes, not text, and compare as bytes. Numbers
//     are whole: a Sort is below 2^53 on either side, a counter is any int64, and stays
//     at the largest when more is added.
//   - A call ends with its context, with an error that wraps both
//     storage.ErrUnavailable and ctx.Err(), and from then on reads nothing that the
//     caller gave it.
//
// Run does not see what happens when the database dies: that an acknowledged write
// is still there, that a call does not wait for a server that is silent, and that an
// engine refuses a database which is of another version, evicts or is read-only. Test
// these with the database in a process of its own that is killed, stopped and cut off.
package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Run checks that the stores which open returns keep the contract, each property
// in a subtest of its own: once as they are, and once beneath [storage.Scope], as
// every Provider uses them.
//
// open returns a store that holds nothing, has now as its clock, and is released
// by t.Cleanup. It is called some twenty times: most checks share a store, where
// they use names of their own. now stands still until a check moves it on, and is
// safe for concurrent use.
//
// An engine bounds how long a call waits, and may meet the bound on a busy machine:
// Run asks again where the contract lets it, as long as that is seldom.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) storage.Store) {
	for _, section := range sections() {
		var common *suite
		if !section.own {
			common = opened(t, section, open)
		}
		for _, c := range section.checks {
			t.Run(c.name, func(t *testing.T) {
				c.run(section.suite(t, c, common, open))
			})
		}
	}
	common := opened(t, section{}, open)
	for _, section := range sections() {
		if !section.scoped {
			continue
		}
		for _, c := range section.checks {
			t.Run("scoped/"+c.name, func(t *testing.T) {
				s := *common
				if section.ends {
					s = *opened(t, section, open)
				}
				s.TB, s.scoped, s.slack = t, true, 0
				s.s = storage.Scope(s.s, "https://issuer.example/"+c.name)
				c.run(&s)
			})
		}
	}
}

// A check is one property of the contract.
type check struct {
	name string
	run  func(t *suite)
}

// A section is checks that are run alike.
type section struct {
	checks []check
	own    bool // each on a store of its own, whose names are not marked as the check's
	ends   bool // each closes its store
	scoped bool // also beneath a Scope, each in one of its own
}

func sections() []section {
	return []section{
		{checks: slices.Concat(recordChecks, expiryChecks), scoped: true},
		{checks: slices.Concat(groupChecks, pageChecks), scoped: true},
		{checks: counterChecks, scoped: true},
		{checks: hostileChecks, own: true, scoped: true},
		{checks: valueChecks, scoped: true},
		{checks: contextChecks, scoped: true},
		{checks: slices.Concat(raceChecks, deleteRaceChecks)},
		{checks: slices.Concat(placeChecks, helperChecks)},
		{checks: modelChecks, own: true, scoped: true},
		{checks: endChecks, own: true, ends: true, scoped: true},
	}
}

// opened is a suite on a store that is open until t ends.
func opened(t *testing.T, s section, open func(t *testing.T, now func() time.Time) storage.Store) *suite {
	t.Helper()
	clock := newClock()
	store := open(t, clock.Now)
	if !s.ends {
		store = &patient{Store: store, now: clock.Now}
	}
	return &suite{TB: t, s: store, clock: clock, slack: storage.Slack}
}

// suite returns what c is run with: a store of its own, or part of the common one.
func (s section) suite(t *testing.T, c check, common *suite, open func(t *testing.T, now func() time.Time) storage.Store) *suite {
	t.Helper()
	if s.own {
		return opened(t, s, open)
	}
	own := common.part(c.name)
	own.TB = t
	return own
}
