package oauthcore

import (
	"context"
	"errors"
	"log/slog"

	"github.com/lettergate/lettergate/provider/internal/fositestore"
)

// A Reuse is an authorization code or refresh token that its own client presented
// again after it was spent. Somebody has a copy, and nobody can tell who: the grant
// with all that was born of it is revoked.
type Reuse struct {
	Refresh  bool // a refresh token; otherwise a code
	ClientID string
	Subject  string // as the directory knows the person
	GrantID  string
}

// endReused ends the grant of a code or token that was used twice, whatever others do
// with it at the same time, and then says so.
func (c *Core) endReused(ctx context.Context, unit *fositestore.Unit) error {
	ctx = context.WithoutCancel(ctx) // whoever hangs up does not keep it quiet
	g := unit.Grant()
	err := unit.Commit(ctx)
	ended := unit.Ended()
	if errors.Is(err, fositestore.ErrLost) {
		// Whatever was faster: a family of which a token was used twice ends.
		ended, err = c.grants.EndGrant(ctx, g.ID)
	}
	if err != nil {
		return err
	}
	c.log.LogAttrs(ctx, slog.LevelWarn, "a spent code or rotated refresh token was presented; its grant is revoked",
		slog.String("client_id", g.ClientID), slog.String("grant_id", g.ID))
	if ended {
		c.reused(ctx, Reuse{Refresh: unit.Refreshing(), ClientID: g.ClientID, Subject: g.Subject, GrantID: g.ID})
	}
	return nil
}
