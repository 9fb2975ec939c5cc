// Package mailtest has what tests of mail need: [Inbox], a mail.Mailer that keeps
// what it is given and can refuse it, and [Server], a mail server on this machine
// that can misbehave in the ways real ones do.
//
// Its invariant: nothing in it polls or sleeps. A test waits for a mail, and the
// mail's arrival ends the wait.
package mailtest
