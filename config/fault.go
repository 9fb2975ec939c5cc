package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Fault is one thing that is wrong with a configuration.
type Fault struct {
	// Source is the file or the environment variable that said it; empty for a
	// Config that was filled by hand.
	Source string
	// Line and Column are the place in the file, from 1; 0 when there is none. For
	// a key that is missing they are those of the list item or section it is
	// missing from.
	Line, Column int
	// Path is the key, such as clients[0].redirect_uris[1]; empty for a file that
	// is no YAML.
	Path string
	// Message says what is wrong and what would be right. It never contains the
	// value of a Secret.
	Message string
}

// String returns the fault in one line: file:line:column: path: message.
func (f Fault) String() string {
	var parts []string
	switch {
	case f.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d:%d", f.Source, f.Line, f.Column))
	case f.Source != "":
		parts = append(parts, f.Source)
	}
	if f.Path != "" {
		parts = append(parts, f.Path)
	}
	return strings.Join(append(parts, f.Message), ": ")
}

// Faults are all that is wrong with a configuration: never empty when returned as
// an error. Use [errors.As] to get at them.
type Faults []Fault

// Error returns the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// err returns f as an error, nil when there are no faults.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// sort orders the faults as their reader meets them: the file from top to bottom,
// then what has no place in it.
func (f Faults) sort() {
	slices.SortStableFunc(f, func(a, b Fault) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// under reports whether path is parent or inside it.
func under(path, parent string) bool {
	rest, found := strings.CutPrefix(path, parent)
	return found && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// parentPath cuts the last step off a path: clients[0].client_id, clients[0],
// clients, "".
func parentPath(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func keyPath(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

func indexPath(parent string, i int) string {
	return parent + "[" + strconv.Itoa(i) + "]"
}

// maxQuoted is how much of a value a message repeats, in bytes.
const maxQuoted = 100

var userinfo = regexp.MustCompile(`//[^/?#]*@`)

// quote repeats a value in a message: in one line, shortened, and without the
// password of a URL.
func quote(value string) string {
	value = userinfo.ReplaceAllString(value, "//"+hidden+"@")
	if len(value) > maxQuoted {
		value = value[:maxQuoted] + "…"
	}
	return strconv.QuoteToGraphic(value)
}

// didYouMean returns the end of a message about an unknown name: the known name
// it is a slip of, or else every known one, or nothing when they are too many.
func didYouMean(name string, known []string) string {
	if near := closest(name, known); near != "" {
		return "; did you mean " + near + "?"
	}
	if len(known) > 24 {
		return ""
	}
	return "; known are " + strings.Join(known, ", ")
}

// closest returns the name that takes the fewest edits to reach, when they are
// few for a name of this length.
func closest(name string, known []string) string {
	best, fewest := "", len(name)/3+1
	for _, k := range known {
		if abs := max(len(k)-len(name), len(name)-len(k)); abs >= fewest {
			continue
		}
		if n := edits(name, k); n < fewest {
			best, fewest = k, n
		}
	}
	return best
}

// edits counts the letters to insert, delete, replace or swap with their
// neighbour to get from a to b.
func edits(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(row[j-1]+1, last[j]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
