package provider_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
	"github.com/lettergate/lettergate/provider/storage"
)

const lostStore = "the store was emptied or exchanged"

// ran runs a provider of one issuer over the store until do returns, and returns
// what it logged and the error of Run.
func ran(t *testing.T, store storage.Store, do func(p *provider.Provider)) (string, error) {
	t.Helper()
	var logged bytes.Buffer
	p, err := provider.New(testConfig("http://localhost:8080"), provider.Deps{
		Store: store, Mailer: mailtest.New(), Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := p.Run(ctx)
		cancel()
		done <- err
	}()
	for ctx.Err() == nil && asked(p, "GET", "/readyz").status != 200 {
		<-time.After(time.Millisecond)
	}
	if ctx.Err() == nil && do != nil {
		do(p)
	}
	cancel()
	err = <-done
	return logged.String(), err
}

// TestFT05_EmptiedStore empties the store of tokens between two starts, and under a
// running provider.
func TestFT05_EmptiedStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storage.Split(openStore(t), openStore(t))
		empty := func(kind storage.Kind, id string) {
			t.Helper()
			if err := storage.Scope(store, "http://localhost:8080").Delete(t.Context(), storage.Key{Kind: kind, ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		for start := range 2 {
			if log, err := ran(t, store, nil); err != nil || strings.Contains(log, lostStore) {
				t.Fatalf("start %d of a store that was not emptied: %v\n%s", start, err, log)
			}
		}
		empty(storage.Epoch, "store")
		if log, err := ran(t, store, nil); err != nil || strings.Count(log, lostStore) != 1 {
			t.Errorf("started after the tokens were emptied: %v\n%s", err, log)
		}
		if log, err := ran(t, store, nil); err != nil || strings.Contains(log, lostStore) {
			t.Errorf("said again at the next start: %v\n%s", err, log)
		}
		// Nothing but the process remembers when all is gone.
		log, err := ran(t, store, func(*provider.Provider) {
			<-time.After(2 * time.Minute)
			empty(storage.Deployment, "this")
			empty(storage.Epoch, "store")
			<-time.After(2 * time.Minute)
		})
		if err != nil || strings.Count(log, lostStore) != 1 {
			t.Errorf("emptied while it ran: %v\n%s", err, log)
		}
	})
}

// TestFT16_AnotherDeployment gives two deployments of one issuer, each with accounts
// of its own, the same store for tokens.
func TestFT16_AnotherDeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := openStore(t)
		if _, err := ran(t, storage.Split(openStore(t), tokens), nil); err != nil {
			t.Fatal(err)
		}
		_, err := ran(t, storage.Split(openStore(t), tokens), nil)
		if !errors.Is(err, storage.ErrUnfit) || !strings.Contains(err.Error(), "another deployment") {
			t.Errorf("Run = %v, want ErrUnfit naming another deployment", err)
		}
	})
}
