package provider

import (
	"context"
	"log/slog"
	"time"

	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/web"
)

// Hooks let the embedding program know what happens inside. The zero value tells
// nobody. Fields are added, never changed.
type Hooks struct {
	// Event is told what an operator may want to act on: to warn a person, to watch a
	// client, to raise an alarm. It may be called from several goroutines at once, and it
	// runs within the request that it is about, before that is answered: what takes
	// longer than a moment belongs on a goroutine of its own. ctx has the values of the
	// request's context and does not end with it. A panic of Event is logged and changes
	// nothing about the answer.
	Event func(ctx context.Context, e Event)
}

// An EventKind says what has happened. Kinds are added; a program ignores those that
// it does not know.
type EventKind string

const (
	// RefreshTokenReused is a refresh token that was used again after its grace: it was
	// copied, or its client is broken. All tokens of its grant are revoked.
	RefreshTokenReused EventKind = "refresh_token.reused"

	// CodeReplayed is an authorization code that was redeemed again after it had been
	// redeemed. All tokens of its grant are revoked.
	CodeReplayed EventKind = "authorization_code.replayed"
)

// An Event is something that has happened. It holds names and no secrets: no token,
// code, cookie or address. Fields are added, never changed; those that an event has no
// use for are empty.
//
// Events about a revocation come after it is stored, and once for each revocation that
// this process has made: not again when the dead token is presented again, and not
// from the replica that was a moment slower. An outage of the store just then, or the
// end of the process, can lose one; the log is no safer.
type Event struct {
	Kind      EventKind
	At        time.Time // by Deps.Now
	ClientID  string    // who presented the token, and whom it belongs to
	Subject   string    // the account, users.User.Subject
	GrantID   string    // claim "gid" of the access tokens that are revoked
	RequestID string    // header X-Request-Id of the answer, request_id in the log
}

// reused tells of a code or refresh token that was used twice.
func (p *Provider) reused(ctx context.Context, r oauthcore.Reuse) {
	kind := CodeReplayed
	if r.Refresh {
		kind = RefreshTokenReused
	}
	p.raise(ctx, Event{Kind: kind, ClientID: r.ClientID, Subject: r.Subject, GrantID: r.GrantID})
}

func (p *Provider) raise(ctx context.Context, e Event) {
	if p.hooks.Event == nil {
		return
	}
	e.At, e.RequestID = p.now(), web.RequestID(ctx)
	defer func() {
		if fault := recover(); fault != nil {
			p.log.LogAttrs(ctx, slog.LevelError, "Deps.Hooks.Event panicked", slog.String("event", string(e.Kind)),
				slog.String("request_id", e.RequestID), slog.Any("err", oauthcore.Panicked(fault)))
		}
	}()
	p.hooks.Event(ctx, e)
}
