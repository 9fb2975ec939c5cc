package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lettergate/lettergate/provider/storage"
)

// layout is the version of what is stored, the keys and the form of their values. It
// stands under its own key.
const layout = 1

// What the oldest server that has all that is needed calls itself.
const (
	oldestMajor = 6
	oldestMinor = 2 // ZRANDMEMBER
)

// examine reports why the servers cannot be used.
func (s *Store) examine(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return s.servers.each(ctx, s.examineNode) },
		s.ping,
		s.examineCollector,
	} {
		if _, err := call(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, step(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// examineCollector reports whether garbage can be collected, which no call needs: a
// user who may not do it would have groups grow for ever.
func (s *Store) examineCollector(ctx context.Context) error {
	nowhere := s.prefix + "nowhere"
	if err := s.servers.any().ZRandMember(ctx, nowhere, 1).Err(); err != nil {
		return err
	}
	return s.servers.any().ZRem(ctx, nowhere, "nothing").Err()
}

// ping reports whether each server answers, and whether what is stored is of a layout
// that is known and takes writes.
func (s *Store) ping(ctx context.Context) error {
	if s.servers.many != nil {
		err := s.servers.each(ctx, func(ctx context.Context, node *redis.Client) error { return node.Ping(ctx).Err() })
		if err != nil {
			return err
		}
	}
	answer, err := s.servers.eval(ctx, layoutScript, []string{s.prefix + "layout"}, layout)
	if err != nil {
		return err
	}
	switch found, err := strconv.Atoi(answer[0]); {
	case err != nil:
		return errForeign
	case found > layout:
		return fmt.Errorf("%w: what it holds has layout %d, made by a newer Lettergate; this one knows %d", storage.ErrUnfit, found, layout)
	}
	return nil
}

// examineNode looks at what one server says of itself.
func (s *Store) examineNode(ctx context.Context, node *redis.Client) error {
	text, err := node.Info(ctx).Result()
	if err != nil && !permission(err) {
		return err
	}
	info := parseInfo(text)
	if info["maxmemory_policy"] == "" {
		if info["maxmemory_policy"], err = policy(ctx, node); err != nil {
			return err
		}
	}
	if info["maxmemory_policy"] == "" || info["redis_version"] == "" {
		s.logger.Warn("the server's user may run neither INFO nor CONFIG GET, so nobody has checked that maxmemory-policy is noeviction and Redis is new enough")
	}
	return s.judge(info)
}

// policy asks for the eviction policy in the other way. It is "" when the server does
// not say.
func policy(ctx context.Context, node *redis.Client) (string, error) {
	const name = "maxmemory-policy"
	values, err := node.ConfigGet(ctx, name).Result()
	var answer redis.Error
	if errors.As(err, &answer) { // forbidden, or unknown to a service that has no configuration
		return "", nil
	}
	return values[name], err
}

// permission reports whether err says that the user may not run a command.
func permission(err error) bool {
	return redis.IsPermissionError(err) || redis.HasErrorPrefix(err, "unknown command")
}

// parseInfo reads the answer to INFO.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// judge reports why a server that says this of itself cannot be used. What it does not
// say is taken to be right.
func (s *Store) judge(info map[string]string) error {
	switch policy := info["maxmemory_policy"]; {
	case !newEnough(info["redis_version"]):
		return fmt.Errorf("%w: the server is Redis %s; Redis %d.%d or newer is needed, or what is compatible with it", storage.ErrUnfit, info["redis_version"], oldestMajor, oldestMinor)
	case policy != "" && policy != "noeviction":
		return fmt.Errorf("%w: the server's maxmemory-policy is %s, which removes records when its memory is full, such as the note that a code has been used; set it to noeviction", storage.ErrUnfit, policy)
	case s.servers.many == nil && info["cluster_enabled"] == "1":
		return refused("MOVED: cluster_enabled is 1")
	case info["role"] == "slave":
		return fmt.Errorf("%w: the server is a replica and takes no writes; name its master, or promote it", storage.ErrUnavailable)
	}
	return nil
}

// newEnough reports whether a server of that version has all that is needed.
func newEnough(version string) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(second)
	if err != nil || err2 != nil {
		return true // it does not say
	}
	return major > oldestMajor || major == oldestMajor && minor >= oldestMinor
}
