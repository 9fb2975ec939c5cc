package mailtest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"github.com/lettergate/lettergate/provider/mail"
)

// codeLine is how the provider's mails show a code: alone on its line.
var codeLine = regexp.MustCompile(`(?m)^[ \t]*([0-9]{4,12})[ \t]*\r?$`)

// An Inbox is a [mail.Mailer] that delivers to the test. It is safe for
// concurrent use; inside a synctest bubble, make it there.
type Inbox struct {
	mu       sync.Mutex
	messages []mail.Message
	handed   []bool // whether WaitFor has returned the message of the same index
	arrived  chan struct{}
	fail     func(mail.Message) error
}

// New returns an empty inbox.
func New() *Inbox { return &Inbox{arrived: make(chan struct{})} }

// Send implements [mail.Mailer]. Like a real one it refuses a message without a
// usable recipient.
func (b *Inbox) Send(ctx context.Context, m mail.Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("deliver to the test inbox: %w", err)
	}
	if _, err := mail.ParseAddress(m.To); err != nil {
		return fmt.Errorf("%w: %w", mail.ErrRejected, err)
	}
	b.mu.Lock()
	fail := b.fail
	b.mu.Unlock()
	if fail != nil { // called without the lock: it may block or look into the inbox
		if err := fail(m); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, m)
	b.handed = append(b.handed, false)
	close(b.arrived) // wakes everybody who waits
	b.arrived = make(chan struct{})
	return nil
}

// Fail makes fail decide about every later message: one for which it returns an
// error is not kept, and Send returns that error. nil accepts everything again.
func (b *Inbox) Fail(fail func(mail.Message) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = fail
}

// Messages returns everything that was delivered, oldest first.
func (b *Inbox) Messages() []mail.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.messages)
}

// WaitFor returns the newest message to an address that no earlier WaitFor or Code
// has returned or passed over, and waits for one if there is none. So after
// asking for another code it cannot return the one before. Spellings of one
// identity are one address.
func (b *Inbox) WaitFor(ctx context.Context, to string) (mail.Message, error) {
	for {
		b.mu.Lock()
		m, found := b.take(to)
		arrived := b.arrived
		b.mu.Unlock()
		if found {
			return m, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return mail.Message{}, fmt.Errorf("wait for a mail to %s: %w", to, ctx.Err())
		}
	}
}

// Code returns the code in the message that WaitFor returns.
func (b *Inbox) Code(ctx context.Context, to string) (string, error) {
	m, err := b.WaitFor(ctx, to)
	if err != nil {
		return "", err
	}
	match := codeLine.FindStringSubmatch(m.Text)
	if match == nil {
		return "", fmt.Errorf("the mail %q to %s has no code", m.Subject, to)
	}
	return match[1], nil
}

// take marks all messages to an address as handed out and returns the newest of
// those that were not. The caller holds the lock.
func (b *Inbox) take(to string) (newest mail.Message, found bool) {
	want := identity(to)
	for i, m := range b.messages {
		if !b.handed[i] && identity(m.To) == want {
			b.handed[i] = true
			newest, found = m, true
		}
	}
	return newest, found
}

func identity(address string) string {
	a, err := mail.ParseAddress(address)
	if err != nil {
		return address
	}
	return a.Identity()
}
