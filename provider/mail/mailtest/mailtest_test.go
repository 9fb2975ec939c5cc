package mailtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

func send(t *testing.T, b *mailtest.Inbox, to, code string) {
	t.Helper()
	if err := b.Send(t.Context(), mail.Message{To: to, Subject: "x", Text: "At 2026:\n\n    " + code + "\n\nin 10 min.\n"}); err != nil {
		t.Fatal(err)
	}
}

func TestCodeWaitsForTheNextMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mailtest.New()
		go func() {
			<-time.After(time.Minute) // by the clock of the bubble
			send(t, b, "other@example.com", "999999")
			send(t, b, "Kim@Example.com", "012345")
		}()
		if code, err := b.Code(t.Context(), "kim@example.com"); err != nil || code != "012345" {
			t.Errorf("Code: %q, %v", code, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if code, err := b.Code(ctx, "kim@example.com"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the same mail twice: %q, %v", code, err)
		}
	})
}

func TestCodeIsTheNewest(t *testing.T) {
	b := mailtest.New()
	send(t, b, "kim@example.com", "111111")
	send(t, b, "kim@example.com", "222222")
	if code, err := b.Code(t.Context(), "kim@example.com"); err != nil || code != "222222" {
		t.Errorf("Code: %q, %v", code, err)
	}
	send(t, b, "kim@example.com", "333333")
	if code, err := b.Code(t.Context(), "kim@example.com"); err != nil || code != "333333" {
		t.Errorf("Code: %q, %v", code, err)
	}
	if n := len(b.Messages()); n != 3 {
		t.Errorf("%d messages; want 3", n)
	}
}

func TestCodeOfTheRealMail(t *testing.T) {
	templates, err := mail.NewTemplates()
	if err != nil {
		t.Fatal(err)
	}
	m, err := templates.Code(mail.CodeMail{
		To: "kim@example.com", Code: "0012345678", ClientName: "123456", ProviderName: "654321", Minutes: 10,
		RequestedAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := mailtest.New()
	if err := b.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if code, err := b.Code(t.Context(), "kim@example.com"); err != nil || code != "0012345678" {
		t.Errorf("Code: %q, %v", code, err)
	}
}

func TestFail(t *testing.T) {
	b := mailtest.New()
	full := errors.New("full")
	b.Fail(func(m mail.Message) error {
		if m.To == "kim@example.com" {
			return fmt.Errorf("%w: %d already", full, len(b.Messages()))
		}
		return nil
	})
	if err := b.Send(t.Context(), mail.Message{To: "kim@example.com"}); !errors.Is(err, full) {
		t.Errorf("Send: %v", err)
	}
	send(t, b, "eve@example.com", "111111")
	b.Fail(nil)
	send(t, b, "kim@example.com", "111111")
	if n := len(b.Messages()); n != 2 {
		t.Errorf("%d messages; want 2", n)
	}
	if err := b.Send(t.Context(), mail.Message{To: "nobody"}); !errors.Is(err, mail.ErrRejected) {
		t.Errorf("Send to no address: %v; want ErrRejected", err)
	}
}

func TestInboxIsSafeForConcurrentUse(t *testing.T) {
	b := mailtest.New()
	var all sync.WaitGroup
	for i := range 50 {
		to := fmt.Sprintf("u%d@example.com", i)
		all.Go(func() {
			if _, err := b.Code(t.Context(), to); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { send(t, b, to, "123456") })
	}
	all.Wait()
}

var _ mail.Mailer = (*mailtest.Inbox)(nil)
