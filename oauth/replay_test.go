package oauth_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// isFirst asks whether id is used for the first time.
func isFirst(t testing.TB, m *oauth.ReplayMemory, id string, until time.Time) bool {
	t.Helper()
	ok, err := m.First(t.Context(), id, until)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestRS25_ReplayMemory(t *testing.T) {
	now := noon
	m := oauth.NewReplayMemory(0, func() time.Time { return now })
	until := noon.Add(time.Minute)
	if !isFirst(t, m, "a", until) || isFirst(t, m, "a", until) || isFirst(t, m, "a", until.Add(30*time.Second)) || isFirst(t, m, "a", noon) {
		t.Error("an id was first more than once")
	}
	if !isFirst(t, m, "b", until) {
		t.Error("another id was not first")
	}
	now = until
	if isFirst(t, m, "a", until) || isFirst(t, m, "a", until.Add(time.Minute)) {
		t.Error("an id was forgotten before its time")
	}
	now = until.Add(10 * time.Second)
	if !isFirst(t, m, "a", now.Add(time.Minute)) {
		t.Error("an id is remembered for ever")
	}
	if isFirst(t, m, "c", until) {
		t.Error("what is over was first")
	}
	if _, err := m.First(t.Context(), "d", now.Add(2*time.Hour)); err == nil {
		t.Error("no bound on the time")
	}
	// A clock that was years ahead and is right again.
	now = noon.Add(10 * 365 * 24 * time.Hour)
	isFirst(t, m, "x", now)
	now = until.Add(11 * time.Second)
	if isFirst(t, m, "a", until.Add(70*time.Second)) {
		t.Error("an id was forgotten because the clock was ahead")
	}
	now = noon.Add(2 * time.Minute)
	if !isFirst(t, m, "y", now.Add(time.Minute)) {
		t.Error("refuses everything until the clock is where it was")
	}
}

func TestRS25_OneWinner(t *testing.T) {
	m := oauth.NewReplayMemory(0, func() time.Time { return noon })
	var wg sync.WaitGroup
	for i := range 50 {
		var winners atomic.Int64
		for range 16 {
			wg.Go(func() {
				if isFirst(t, m, fmt.Sprint(i), noon.Add(time.Minute)) {
					winners.Add(1)
				}
			})
		}
		wg.Wait()
		if winners.Load() != 1 {
			t.Fatalf("%d callers were the first", winners.Load())
		}
	}
}

// More than fits is not forgotten but refused: a full memory lets no replay through.
func TestRS25_FullMemory(t *testing.T) {
	now := noon
	m := oauth.NewReplayMemory(1000, func() time.Time { return now })
	var taken []string
	var until []time.Time
	for i := range 20_000 {
		if i%100 == 0 {
			now = now.Add(time.Second)
		}
		id, end := fmt.Sprint(i), now.Add(time.Duration(i%60)*time.Second)
		if isFirst(t, m, id, end) {
			taken, until = append(taken, id), append(until, end)
		}
		for back := 1; back < 3000; back *= 7 { // some of those before
			if j := len(taken) - back; j >= 0 && isFirst(t, m, taken[j], until[j]) {
				t.Fatalf("%s was first twice", taken[j])
			}
		}
	}
	if len(taken) < 10_000 {
		t.Errorf("only %d of 20000 were let through", len(taken))
	}
	now = now.Add(2 * time.Minute)
	if !isFirst(t, m, "later", now.Add(time.Minute)) {
		t.Error("the flood is over and nobody gets through")
	}
}

// A flood of proof ids takes a bounded memory, and whoever sends an honest proof in
// the midst of it is not refused.
func TestRS25_Flood(t *testing.T) {
	now := noon
	m := oauth.NewReplayMemory(0, func() time.Time { return now })
	v := newDPoPVerifier(t, oauth.DPoPConfig{Replays: m, Now: func() time.Time { return now }})
	client := newKey(t, "", "EdDSA")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range replayFlood {
		if !isFirst(t, m, fmt.Sprintf("%032d-%d", i, replayFlood), now.Add(time.Minute)) {
			t.Fatalf("id %d was refused", i)
		}
		if i%(replayFlood/100) == 0 {
			now = now.Add(500 * time.Millisecond)
			wantProof(t, v, goodProof.with(client, "jti", fmt.Sprint("honest", i), "iat", now.Unix()))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d ids take %d KiB", replayFlood, grown>>10)
	if limit := int64(64<<20) * replayFlood / 1_000_000; grown > max(limit, 2<<20) {
		t.Errorf("%d bytes", grown)
	}
	runtime.KeepAlive(m)
}

// A clock that was ahead for a moment costs the proofs of about two minutes, not all until
// the time comes that it showed; and nothing that was used is good again.
func TestRS25_ClockAheadForAMoment(t *testing.T) {
	now := noon
	m := oauth.NewReplayMemory(1000, func() time.Time { return now })
	isFirst(t, m, "before", noon.Add(time.Minute))
	now = noon.Add(30 * time.Minute)
	isFirst(t, m, "ahead", now.Add(time.Minute))
	now = noon.Add(time.Second)
	if isFirst(t, m, "before", noon.Add(time.Minute)) {
		t.Error("a replay got through")
	}
	now = noon.Add(2 * time.Minute)
	if !isFirst(t, m, "after", now.Add(time.Minute)) {
		t.Error("an honest proof is refused, because the clock was ahead once")
	}
	if isFirst(t, m, "past", now.Add(-time.Minute)) {
		t.Error("what need not be remembered any more was first")
	}
}
