package config

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is what a Secret shows of itself, whatever it is and even when empty.
const hidden = "***"

// A Secret is a text that must not be seen. It prints, logs and marshals as ***
// with every verb and encoding, alone and inside other values; only [Secret.Reveal]
// gives the text away, so that its uses can be searched for.
//
// Three doors no method can shut. fmt calls none on what it reaches through an
// unexported field, nor on what is behind a pointer inside a struct that it prints
// with a verb other than %v; and encoding/json writes the keys of maps as they are.
// So keep [Secret.Reveal] instead of the Secret in unexported fields, as a func() string,
// and make no Secret the key of a map.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns ***.
func (Secret) String() string { return hidden }

// GoString returns ***.
func (Secret) GoString() string { return hidden }

// Format writes *** for every verb and flag, those included that would print a
// string by its bytes (%x, %q, %d).
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText returns ***. JSON, YAML and XML go through it too.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue returns ***.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
