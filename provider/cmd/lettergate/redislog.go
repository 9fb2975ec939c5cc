package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// redisLog takes what go-redis would write to standard error by itself, in no format
// of ours: mostly that a connection failed, which its caller is told as well.
type redisLog struct{ log *slog.Logger }

// setRedisLog has go-redis write to log. It has one logger for the whole program, so
// only a program can choose it, before any store is opened.
func setRedisLog(log *slog.Logger) { redis.SetLogger(redisLog{log}) }

// Printf is called by go-redis.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, args...))
}
