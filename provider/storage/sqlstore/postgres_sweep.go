package sqlstore

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// sweepAtLeast is how often garbage is looked for when this process has written
// nothing: others, which are gone now, may have.
const sweepAtLeast = 5 * time.Minute

// sweepUntil collects garbage until closing is closed. Every process does; what
// one has locked the others pass over.
func (p *Postgres) sweepUntil(closing <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	idle := time.Duration(0) // since the last look
	for {
		// Not all processes at the same moment.
		pause := sweepEvery/2 + rand.N(sweepEvery)
		select {
		case <-time.After(pause):
		case <-closing:
			return
		}
		if idle += pause; !p.wrote.Swap(false) && idle < sweepAtLeast {
			continue
		}
		idle = 0
		for p.sweep(ctx) {
			select {
			case <-time.After(sweepPause):
			case <-closing:
				return
			}
		}
	}
}

// sweep collects one slice and reports whether there may be more.
func (p *Postgres) sweep(ctx context.Context) (more bool) {
	before := p.now().Add(-sweepAge).UnixMilli()
	more, err := do(ctx, p, func(ctx context.Context, conn *pgx.Conn) (more bool, err error) {
		err = conn.QueryRow(ctx, p.text.sweep, before, sweepRows, int64(sweepBytes), sweepAge.Milliseconds()).Scan(&more)
		return more, err
	})
	if err != nil {
		// It stays where it is until the next look.
		p.logger.Warn("garbage in store was not collected", "err", err)
		return false
	}
	return more
}
