package mail

import (
	"context"
	"errors"
	"time"
)

// ErrRejected says that this message will never be delivered: its recipient was
// refused for good (a 5xx reply), or it is malformed. Sending it again is no use.
// Every other error of a Mailer is temporary.
var ErrRejected = errors.New("mail: rejected")

// A Message is one mail to one recipient.
type Message struct {
	// To is the recipient's address, without a name. Required, and acceptable
	// to ParseAddress.
	To string

	// Subject is one line of text. It never holds a code.
	Subject string

	// Text and HTML are two forms of the same content. Text is required.
	Text, HTML string

	// MessageID is "unique@domain", without angle brackets. A message that is
	// sent again keeps it, so that the recipient sees one mail (RFC 5322
	// section 3.6.4). If empty, the Mailer draws one.
	MessageID string

	// Lang is the language tag of the content. Optional.
	Lang string

	// Expires is when the content stops being of use. It is not sent after
	// that. The zero time means never.
	Expires time.Time
}

// A Mailer sends messages. It is safe for concurrent use.
type Mailer interface {
	// Send hands the message over and returns once that is certain, has failed,
	// or ctx is done. The error wraps ErrRejected if trying again is no use.
	// After any other error the message may or may not have been delivered.
	// No error holds any of the message's content.
	Send(ctx context.Context, m Message) error
}
