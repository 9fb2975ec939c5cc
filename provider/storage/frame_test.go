package storage

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The decoder reads what somebody else may have written. It never accepts a value
// that was not framed for exactly its key.
func FuzzUnframe(f *testing.F) {
	for _, value := range []string{"", "x", `{"v":1}`} {
		f.Add("grant", "issuer/id", frame(Key{Grant, "issuer/id"}, []byte(value)))
	}
	f.Add("grant", "issuer/i", frame(Key{Grant, "issuer/id"}, []byte("d")))
	f.Add("user", "", []byte(frameMagic))
	f.Add("", "", bytes.Repeat([]byte(frameMagic), 8))
	f.Fuzz(func(t *testing.T, kind, id string, stored []byte) {
		key := Key{Kind(kind), id}
		value, ok := unframe(key, stored)
		if ok && !bytes.Equal(frame(key, value), stored) {
			t.Errorf("accepted %q, which is not how %q is framed", stored, value)
		}
		framed := frame(key, stored)
		if got, ok := unframe(key, framed); !ok || !bytes.Equal(got, stored) {
			t.Errorf("frame and unframe of %q gave %q, %v", stored, got, ok)
		}
		for _, other := range []Key{{Kind(kind + "x"), id}, {Kind(kind), id + "x"}, {Kind(kind + id), ""}, {"", kind + id}} {
			if _, ok := unframe(other, framed); ok && other != key {
				t.Errorf("a value of %v was accepted under %v", key, other)
			}
		}
	})
}

// What is stored today must be readable by every later version.
func TestFrameIsFixed(t *testing.T) {
	const want = "6c6776014ba8b6a31a7f25cdd5d6f23d0a5bc97876616c7565"
	if got := hex.EncodeToString(frame(Key{Grant, "id"}, []byte("value"))); got != want {
		t.Errorf("frame = %s, want %s", got, want)
	}
}
