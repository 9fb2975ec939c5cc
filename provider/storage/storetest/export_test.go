package storetest

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Verify is verify, on a history in words: see history_test.go.
func Verify(events []Event) error {
	h := make([]event, len(events))
	for i, e := range events {
		h[i] = event{
			put: e.Put, version: storage.Version{e.Version}, prev: storage.Version{e.Prev},
			outcome: map[string]outcome{"": done, "refused": refused, "unknown": unknown}[e.Outcome], begun: e.Begun, ended: e.Ended,
		}
	}
	return verify(h)
}

// An Event is a call of a history, with versions of one byte.
type Event struct {
	Put           bool
	Version, Prev byte
	Outcome       string
	Begun, Ended  int64
}

// Checks returns the names of all checks.
func Checks() []string {
	var names []string
	for _, section := range sections() {
		for _, c := range section.checks {
			names = append(names, c.name)
		}
	}
	return names
}

// Try runs one check on the store that open returns and returns what it complains
// of: nothing, if the store passes.
func Try(t *testing.T, name string, open func(t *testing.T, now func() time.Time) storage.Store) []string {
	t.Helper()
	for _, section := range sections() {
		for _, c := range section.checks {
			if c.name != name {
				continue
			}
			var common *suite
			if !section.own {
				common = opened(t, section, open)
			}
			s := section.suite(t, c, common, open)
			heard := &listener{TB: t}
			s.TB = heard
			return heard.during(func() { c.run(s) })
		}
	}
	t.Fatalf("there is no check %q", name)
	return nil
}

// A listener is a TB that keeps complaints to itself.
type listener struct {
	testing.TB
	mu         sync.Mutex
	complaints []string
}

// during returns the complaints of a check. One that does not end is a complaint.
func (l *listener) during(check func()) []string {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if v := recover(); v != nil {
				l.Error("panic:", v)
			}
		}()
		check()
	}()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		l.Error("the check does not end")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.complaints
}

func (l *listener) Error(args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.complaints = append(l.complaints, fmt.Sprintln(args...))
}

func (l *listener) Errorf(format string, args ...any) { l.Error(fmt.Sprintf(format, args...)) }

func (l *listener) Fatal(args ...any) {
	l.Error(args...)
	runtime.Goexit()
}

func (l *listener) Fatalf(format string, args ...any) { l.Fatal(fmt.Sprintf(format, args...)) }
