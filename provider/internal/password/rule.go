package password

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxInput bounds what is normalised and hashed, in bytes as typed; mostCharacters
// is how long the longest password can be made to stay well within it.
const (
	maxInput       = 1024
	mostCharacters = 256
)

// A Rule is what a new password has to keep to, to be told to people.
type Rule struct {
	Min, Max         int  // characters
	LettersAndDigits bool // at least one of each
}

// Rule returns the rule for new passwords.
func (s *Service) Rule() Rule {
	return Rule{s.cfg.MinLength, s.cfg.MaxLength, !s.cfg.AnyCharacters}
}

// Check returns ErrRule, saying why, unless the password can be chosen. Verify does
// not ask: a rule that is changed locks nobody out.
func (s *Service) Check(password string) error {
	if len(password) > maxInput {
		return fmt.Errorf("%w: more than %d bytes", ErrRule, maxInput)
	}
	if !utf8.ValidString(password) {
		return fmt.Errorf("%w: not UTF-8", ErrRule)
	}
	password = norm.NFC.String(password)
	switch n := utf8.RuneCountInString(password); {
	case n < s.cfg.MinLength:
		return fmt.Errorf("%w: fewer than %d characters", ErrRule, s.cfg.MinLength)
	case n > s.cfg.MaxLength:
		return fmt.Errorf("%w: more than %d characters", ErrRule, s.cfg.MaxLength)
	case strings.ContainsFunc(password, unicode.IsControl):
		return fmt.Errorf("%w: a control character", ErrRule)
	case s.cfg.AnyCharacters:
		return nil
	case !strings.ContainsFunc(password, unicode.IsLetter):
		return fmt.Errorf("%w: no letter", ErrRule)
	case !strings.ContainsFunc(password, unicode.IsDigit):
		return fmt.Errorf("%w: no digit", ErrRule)
	}
	return nil
}
