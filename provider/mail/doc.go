// Package mail sends what the provider writes to people: one message, to one
// address, over an encrypted connection or not at all.
//
// Its invariant: what reaches a mail server is exactly the message that was
// rendered and checked before the connection was opened. An address that passes
// [ParseAddress] has no character with a meaning in SMTP or in a header, a
// message is refused if any field could end a line, and no setting sends in clear
// to another machine.
//
// A program that has its own way to send implements [Mailer]. [SMTP] is ours;
// package mailtest has an inbox for tests and package devbox shows mail on a page
// during development. [Templates] writes the messages.
package mail
