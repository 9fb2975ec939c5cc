// Package users keeps the accounts: who somebody is, not how they prove it.
//
// A [Directory] is what the provider needs of a table of accounts. A program with
// a table of its own implements it there; everybody else takes [NewDirectory],
// which keeps accounts in a storage.Store. Passwords, devices and consents are
// kept elsewhere by subject and need no column here.
//
// The invariant is that an address leads to at most one account and an
// acknowledged account is never lost, whatever crashes or races. Uniqueness in a
// store that knows one record at a time rests on claims: email/<identity> and
// username/<name> name a subject, user/<subject> names them back, and a claim
// counts only while both agree.
//
// # Sign-up
//
//	(1) user/<sub>      expires in an hour
//	(2) username/<u>    expires with it; only when a username is wanted
//	(3) email/<e>       the account exists from here
//	(4) username/<u>, then user/<sub>, each without expiry; answer
//
// Three rules make it right. A record names its claims before the claims are
// made. A claim is always written anew, even when it names the right subject
// already. And (4) replaces exactly the version of user/<sub> that was there
// before (3), so that it fails unless the record lay unchanged in between.
//
// Why nobody loses an acknowledged claim: a taker replaces exactly the claim it
// has read, and looks at the holder's record after that. If the taker read the
// claim of (3), it looks between (1) and (4) or later and finds the address
// taken, or finds the record gone, and then (4) fails, because versions do not
// come back. If it read an older claim, (3) has replaced that, and the taker
// fails. So two sign-ups of one address meet at (3) and one wins; a sign-up that
// stalls for longer than the hour cannot end; and one that died before (3) leaves
// nothing that counts. One that died after (3) left an account nobody was told
// of: the next sign-in with the address does (3) and (4) again before it answers,
// or the hour undoes it. Its username would bar others meanwhile, and so would that of
// one that died before (3): whoever wants the name does (3) and (4) for it, and is
// told that the name is taken, or finds that the sign-up's address went to somebody
// else and takes the name. Nobody stops a sign-up that could still succeed: of many
// who want one name, each having stopped another, none would be left.
//
// # Change and removal
//
// A new address or name goes through the same steps: user/<sub> names it as
// wanted, the claim is made, and a Put of exactly that version commits. A wanted
// claim binds nobody: a taker first strikes it from the record, whereupon the
// commit fails. Old claims are released afterwards, by replacing exactly what was
// read and only while the record does not name them: deleting by key could remove
// a claim that somebody else has made since. Removal marks the record first, so
// the claims count no more; an interrupted removal can be repeated.
package users
