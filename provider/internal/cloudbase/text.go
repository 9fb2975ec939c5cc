package cloudbase

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode"
	"unicode/utf8"
)

// A text is a string of a body. Apps also send numbers where the contract has a
// string: a code that was typed into a number field, say.
type text struct {
	value  string
	number bool // it came as a number
}

var errText = errors.New("neither a string nor a whole number")

// UnmarshalJSON implements json.Unmarshaler. null is the empty text.
func (t *text) UnmarshalJSON(b []byte) error {
	switch {
	case bytes.Equal(b, []byte("null")):
		return nil
	case len(b) > 0 && b[0] == '"':
		t.number = false
		return json.Unmarshal(b, &t.value)
	}
	if len(b) > 20 || len(bytes.Trim(b, "0123456789")) > 0 {
		return errText // a fraction, an exponent, a negative number, an object
	}
	t.value, t.number = string(b), true
	return nil
}

// A sudoToken is what the sudo call has answered: its token, or, as the published
// sample passes it, the whole answer.
type sudoToken struct{ value string }

// UnmarshalJSON implements json.Unmarshaler.
func (s *sudoToken) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var whole struct {
			SudoToken text `json:"sudo_token"`
		}
		err := json.Unmarshal(b, &whole)
		s.value = whole.SudoToken.value
		return err
	}
	var t text
	err := t.UnmarshalJSON(b)
	s.value = t.value
	return err
}

// shown reports whether s can be shown to people as one line of at most max bytes.
func shown(s string, max int) bool {
	if len(s) > max || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r != ' ' && !unicode.IsGraphic(r) {
			return false
		}
	}
	return true
}
