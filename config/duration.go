package config

import (
	"errors"
	"math"
	"strings"
	"time"
)

// A Duration is a length of time that is written as Go writes it, with days on
// top: 90s, 10m, 12h, 30d, 1d12h.
//
// The zero Duration stands for "not said": [Config.WithDefaults] fills it. Zero
// itself is said with [Off], and that is what the text 0s is read as.
type Duration time.Duration

// Off is a Duration of no length, where that is something other than the default:
// strict refresh tokens, keys that are never rotated. In a file it is 0s.
const Off Duration = -1

const day = 24 * time.Hour

var (
	errDuration = errors.New("write a number with a unit, as in 90s, 10m, 12h or 30d")
	errNegative = errors.New("a duration cannot be negative")
)

// ParseDuration reads a duration such as 90s, 10m, 12h, 30d or 1d12h. Zero is
// read as [Off]; what is negative, has no unit or does not fit is an error.
func ParseDuration(text string) (Duration, error) {
	if strings.HasPrefix(text, "-") {
		return 0, errNegative
	}
	var days, part time.Duration
	rest := text
	number, after, hasDays := strings.Cut(text, "d")
	if hasDays {
		if strings.Trim(number, "0123456789.") != "" {
			return 0, errDuration
		}
		// Days are parsed as hours, so that fractions work here as they do there.
		hours, err := time.ParseDuration(number + "h")
		if err != nil || hours > math.MaxInt64/24 {
			return 0, errDuration
		}
		days, rest = hours*24, after
	}
	if !hasDays || rest != "" {
		var err error
		if part, err = time.ParseDuration(rest); err != nil || part < 0 || part > math.MaxInt64-days {
			return 0, errDuration
		}
	}
	if days+part == 0 {
		return Off, nil
	}
	return Duration(days + part), nil
}

// Std returns d as a [time.Duration], and 0 for [Off].
func (d Duration) Std() time.Duration { return time.Duration(max(d, 0)) }

// String returns the shortest text for d that [ParseDuration] reads: whole days
// as 30d, anything else as Go does without the units that are zero (12h, 1h30m).
func (d Duration) String() string {
	std := d.Std()
	if std > 0 && std%day == 0 {
		return strings.TrimSuffix((std/24).String(), "h0m0s") + "d"
	}
	text := std.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText returns [Duration.String]. JSON and YAML go through it too.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is [ParseDuration].
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
