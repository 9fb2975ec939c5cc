package account_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/account"
	"github.com/lettergate/lettergate/provider/internal/consent"
	"github.com/lettergate/lettergate/provider/internal/device"
	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/users"
)

const issuer = "https://issuer.example"

// jobs keeps what is added and does nothing of it: a process that died right after.
type jobs struct{ list []outbox.Job }

func (j *jobs) Add(_ context.Context, job outbox.Job) (outbox.Ticket, error) {
	j.list = append(j.list, job)
	return outbox.Ticket{}, nil
}

func (*jobs) Dispatch(outbox.Ticket) {}

type world struct {
	*testing.T
	*account.Service
	jobs
	store     storage.Store
	users     users.Directory
	passwords *password.Service
	consents  *consent.Service
	inbox     *mailtest.Inbox
	handlers  map[outbox.Kind]outbox.Handler
	signedOut []string
	failing   bool // the directory's changes fail
}

type noGrants struct{}

func (noGrants) RevokeClient(context.Context, string, string) error { return nil }

// flaky is a directory whose changes fail when the world says so.
type flaky struct {
	users.Directory
	w *world
}

func (f flaky) Update(ctx context.Context, u users.User) (users.User, error) {
	if f.w.failing {
		return users.User{}, storage.ErrUnavailable
	}
	return f.Directory.Update(ctx, u)
}

func (f flaky) Delete(ctx context.Context, subject string) error {
	if f.w.failing {
		return storage.ErrUnavailable
	}
	return f.Directory.Delete(ctx, subject)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, inbox: mailtest.New()}
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	raw, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "test.db")})
	fatal(err)
	t.Cleanup(func() { raw.Close() })
	w.store = storage.Scope(raw, issuer)
	ring, err := secrets.New([]secrets.Secret{{ID: "a", Value: []byte(strings.Repeat("a", 32))}})
	fatal(err)
	devices, err := device.New(device.Config{Store: w.store, Secrets: ring})
	fatal(err)
	w.passwords, err = password.New(password.Config{Memory: 8192, Iterations: 1}, password.Deps{Store: w.store, Secrets: ring, Devices: devices})
	fatal(err)
	directory, err := users.NewDirectory(users.Config{Store: w.store})
	fatal(err)
	w.users = flaky{directory, w}
	signOut := func(_ context.Context, subject string, _ int64, keep string) error {
		w.signedOut = append(w.signedOut, subject+" but "+keep)
		return nil
	}
	w.consents, err = consent.New(consent.Config{Store: w.store, Grants: noGrants{}})
	fatal(err)
	texts, err := mail.NewTemplates()
	fatal(err)
	w.handlers, err = account.Handlers(account.FollowConfig{
		Store: w.store, Users: w.users, Passwords: w.passwords, Consents: w.consents, SignOut: signOut, Composer: texts, Mailer: w.inbox,
		Secrets: ring, Issuer: issuer, ProviderName: "Lettergate",
	})
	fatal(err)
	w.Service, err = account.New(account.Config{Store: w.store, Users: w.users, Passwords: w.passwords, Consents: w.consents, Outbox: &w.jobs, SignOut: signOut})
	fatal(err)
	_, err = w.users.Create(t.Context(), users.User{Subject: "ann", Email: "ann@example.com", EmailKey: "ann@example.com", EmailVerified: true})
	fatal(err)
	w.set("password123")
	return w
}

func (w *world) hash(value string) string {
	w.Helper()
	hash, err := w.passwords.Hash(w.Context(), value)
	if err != nil {
		w.Fatal(err)
	}
	return hash
}

func (w *world) set(value string) {
	w.Helper()
	if err := w.passwords.Set(w.Context(), "ann", w.hash(value), time.Time{}); err != nil {
		w.Fatal(err)
	}
}

// allow remembers that Ann has allowed the client, and allows asks for it.
func (w *world) allow(client string) {
	w.Helper()
	if _, err := w.consents.Allow(w.Context(), "ann", client, []string{"openid"}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) allows(client string) bool {
	w.Helper()
	id, err := w.consents.Covers(w.Context(), "ann", client, []string{"openid"})
	if err != nil {
		w.Fatal(err)
	}
	return id != ""
}

func (w *world) ann() users.User {
	w.Helper()
	u, err := w.users.BySubject(w.Context(), "ann")
	if err != nil {
		w.Fatal(err)
	}
	return u
}

// run is another process that finds the jobs.
func (w *world) run() {
	w.Helper()
	list := w.list
	w.list, w.signedOut = nil, nil
	for _, job := range list {
		payload, err := json.Marshal(job.Payload)
		if err != nil {
			w.Fatal(err)
		}
		if err := w.handlers[job.Kind](w.Context(), payload); err != nil {
			w.Errorf("%s: %v", job.Kind, err)
		}
	}
}

// What did not take place has no consequences, though its jobs were stored before.
func TestNothingFollowsFromNothing(t *testing.T) {
	w := newWorld(t)
	w.failing = true
	to, err := mail.ParseAddress("new@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ChangeEmail(t.Context(), w.ann(), to, "en"); err == nil {
		t.Error("the change is said to have succeeded")
	}
	if err := w.Delete(t.Context(), "ann"); err == nil {
		t.Error("the deletion is said to have succeeded")
	}
	if err := w.SetPassword(t.Context(), w.ann(), w.hash("password456"), password.State{}, "", "en", ""); err == nil {
		t.Error("a password was set in the place of another one than there is")
	}
	if n := len(w.list); n != 4 {
		t.Fatalf("%d jobs, want those of three changes", n)
	}
	w.run()
	if len(w.inbox.Messages()) != 0 || len(w.signedOut) != 0 {
		t.Errorf("%d mails, %v signed out", len(w.inbox.Messages()), w.signedOut)
	}
	if state, err := w.passwords.State(t.Context(), "ann"); err != nil || !state.IsSet() {
		t.Errorf("the password of an account that was not deleted: %v, %v", state, err)
	}
}

// What took place is followed up by whoever finds the jobs.
func TestJobsFollowUp(t *testing.T) {
	w := newWorld(t)
	state, err := w.passwords.State(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetPassword(t.Context(), w.ann(), w.hash("password456"), state, "", "en", "kept"); err != nil {
		t.Fatal(err)
	}
	w.run()
	if len(w.signedOut) != 1 || w.signedOut[0] != "ann but kept" {
		t.Errorf("signed out: %v", w.signedOut)
	}
	if sent := w.inbox.Messages(); len(sent) != 1 || sent[0].To != "ann@example.com" || !strings.HasSuffix(sent[0].MessageID, "@issuer.example") {
		t.Errorf("mails: %v", sent)
	}
	if err := w.EditProfile(t.Context(), "ann", func(p *account.Profile) { p.Nickname = "Annie" }); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	// As if the process had died right after the account was gone.
	w.set("password456")
	w.allow("app")
	if err := w.EditProfile(t.Context(), "ann", func(p *account.Profile) { p.Nickname = "Annie" }); err != nil {
		t.Fatal(err)
	}
	w.run()
	state, err = w.passwords.State(t.Context(), "ann")
	said, profileErr := w.Profile(t.Context(), "ann")
	if err != nil || profileErr != nil || state.IsSet() || said != (account.Profile{}) || w.allows("app") || len(w.signedOut) == 0 {
		t.Errorf("left of the account: %v, %+v, signed out %v; %v, %v", state, said, w.signedOut, err, profileErr)
	}
}

// The first proof of an address drops what was attached, and is made once.
func TestProve(t *testing.T) {
	w := newWorld(t)
	u := w.ann()
	w.allow("app")
	u.EmailVerified, u.Username, u.Name = false, "squatter", "Squatter"
	u, err := w.users.Update(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.Prove(t.Context(), u)
	if err != nil || !first.EmailVerified || first.Username != "" || first.Name != "" {
		t.Fatalf("%+v, %v", first, err)
	}
	if state, err := w.passwords.State(t.Context(), "ann"); err != nil || state.IsSet() {
		t.Errorf("the password: %v, %v", state, err)
	}
	if w.allows("app") {
		t.Error("the owner allows what somebody else has allowed")
	}
	w.set("password789") // the owner's
	w.allow("app")
	if again, err := w.Prove(t.Context(), first); err != nil || again != first {
		t.Errorf("%+v, %v", again, err)
	}
	if state, err := w.passwords.State(t.Context(), "ann"); err != nil || !state.IsSet() {
		t.Errorf("a second proof dropped what the owner has: %v, %v", state, err)
	}
	if !w.allows("app") {
		t.Error("a second proof dropped what the owner has allowed")
	}
}
