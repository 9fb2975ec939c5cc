package storetest_test

import (
	"testing"

	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// Histories in which the first two Puts write 1 over nothing and 2 over 1.
func TestVerify(t *testing.T) {
	put := func(version, prev byte, begun, ended int64, outcome ...string) storetest.Event {
		e := storetest.Event{Put: true, Version: version, Prev: prev, Begun: begun, Ended: ended}
		if len(outcome) > 0 {
			e.Outcome = outcome[0]
		}
		return e
	}
	get := func(version byte, begun, ended int64) storetest.Event {
		return storetest.Event{Version: version, Begun: begun, Ended: ended}
	}
	for name, test := range map[string]struct {
		events []storetest.Event
		sound  bool
	}{
		"nothing ever":                           {[]storetest.Event{get(0, 1, 2)}, true},
		"one after the other":                    {[]storetest.Event{put(1, 0, 1, 2), get(1, 3, 4), put(2, 1, 5, 6), get(2, 7, 8)}, true},
		"old or new during a put":                {[]storetest.Event{put(1, 0, 1, 2), put(2, 1, 3, 10), get(2, 4, 5), get(2, 6, 7), get(1, 3, 9), get(2, 11, 12)}, true},
		"a conflict with a put at the same time": {[]storetest.Event{put(1, 0, 1, 4), put(2, 0, 2, 3, "refused"), get(1, 5, 6)}, true},
		"an unknown put that was made":           {[]storetest.Event{put(1, 0, 1, 2, "unknown"), put(2, 1, 5, 6), get(0, 3, 4), get(2, 7, 8)}, true},
		"an unknown put that was not made":       {[]storetest.Event{put(1, 0, 1, 2, "unknown"), get(0, 3, 4)}, true},

		"two winners":                    {[]storetest.Event{put(1, 0, 1, 3), put(2, 0, 2, 4), get(1, 5, 6)}, false},
		"an acknowledged put is lost":    {[]storetest.Event{put(1, 0, 1, 2), get(0, 3, 4)}, false},
		"a refused put is made":          {[]storetest.Event{put(1, 0, 1, 2, "refused"), get(1, 3, 4)}, false},
		"a version from nowhere":         {[]storetest.Event{get(9, 1, 2)}, false},
		"a version over nowhere":         {[]storetest.Event{put(2, 1, 1, 2), get(2, 3, 4)}, false},
		"a get reads what was lost":      {[]storetest.Event{put(1, 0, 1, 2, "unknown"), get(1, 3, 4), get(0, 5, 6)}, false},
		"a get reads what is old":        {[]storetest.Event{put(1, 0, 1, 2), put(2, 1, 3, 4), get(1, 5, 6), get(2, 7, 8)}, false},
		"a get goes back":                {[]storetest.Event{put(1, 0, 1, 2), put(2, 1, 3, 10), get(2, 4, 5), get(1, 6, 7), get(2, 11, 12)}, false},
		"a get reads what is yet to be":  {[]storetest.Event{get(1, 1, 2), put(1, 0, 3, 4), get(1, 5, 6)}, false},
		"a get goes back to nothing":     {[]storetest.Event{put(1, 0, 1, 2), get(0, 3, 4), get(1, 5, 6)}, false},
		"a put is late for its place":    {[]storetest.Event{put(2, 1, 1, 2), put(1, 0, 3, 4), get(2, 5, 6)}, false},
		"a conflict with nobody":         {[]storetest.Event{put(1, 0, 1, 2), put(2, 1, 3, 4, "refused"), get(1, 5, 6)}, false},
		"a conflict with somebody later": {[]storetest.Event{put(1, 0, 1, 2), put(2, 1, 3, 4, "refused"), put(3, 1, 5, 6), get(3, 7, 8)}, false},
		"a circle":                       {[]storetest.Event{put(1, 2, 1, 2), put(2, 1, 3, 4), get(2, 5, 6)}, false},
	} {
		if err := storetest.Verify(test.events); (err == nil) != test.sound {
			t.Errorf("%s: %v", name, err)
		}
	}
}
