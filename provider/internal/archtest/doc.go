// Package archtest keeps the shape of this module: who may import whom, how long
// a file may be, what no source file may hold.
//
// Its invariant: every rule about the shape that can be read from the source is
// a row here, with a name and with what would be right, and the test of this
// package holds the module to all of them and has seen each one broken. There
// are no exceptions to a rule other than those that its row names.
//
// One file that is not Go is part of it: provider/SECURITY-RULES.md, which lists the
// rules of security and their tests. [Module.UpdateSecurityRules] puts the tests in, and
// the rules of this package keep it from saying more than there is.
//
// [Load] reads a module from a file system, [Rules] lists the rules, and
// [Rule.Check] names what breaks one. The imports are taken from the source of
// every file, test files and files of other build tags included, because the go
// command would show only what one build sees.
package archtest
