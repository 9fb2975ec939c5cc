package messages

import (
	"strings"
	"unicode"
)

// maxName is how many characters of a stranger's name are shown.
const maxName = 64

// Name makes a name that a stranger chose (a client's, a browser's) fit to stand
// quoted in one of our sentences: one line, no control or direction characters,
// no double quotes to leave our own with, nothing a mail program would make a
// link of because of its "://", and at most 64 characters. It may return "".
// It does not escape HTML.
func Name(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "://", " ")
	s = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("\"“”„‟«»＂", r):
			return '\''
		case r == '\u200C' || r == '\u200D':
			return r // the joiners: Persian and emoji need them
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co):
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > maxName {
		s = strings.TrimSpace(string(runes[:maxName-1])) + "…"
	}
	return s
}
