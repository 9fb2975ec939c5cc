//go:build full

package provider_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// TestFT05_EmptiedWhileItRuns has a running provider notice, within half a minute, that
// all it has stored is gone: a store that is all in one place remembers nothing itself.
func TestFT05_EmptiedWhileItRuns(t *testing.T) {
	redis := servertest.Redis(t)
	s := openSite(t, config.Storage{URL: config.Secret("redis://" + redis.Addr)})
	s.ready(10 * time.Second)
	tokens := s.tokens("ann@example.com")
	try(t, redis.Empty)
	within(t, time.Minute, "the log says that the store was emptied", func() bool { return strings.Contains(s.log.String(), lostStore) })
	s.settled("refresh", func() answer { return s.refresh(tokens["refresh_token"].(string)) }).is(t, http.StatusBadRequest, "invalid_grant")
	s.alive(s.tokens("ann@example.com"))
}
