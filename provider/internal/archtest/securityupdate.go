package archtest

import (
	"maps"
	"slices"
	"strings"
)

// UpdateSecurityRules returns the list of security rules with the tests that there
// are. In each row it puts the tests that are named after the rule, and keeps the
// others that somebody has put there and that exist. A rule that was without a test,
// or without the feature, and has a test now is kept; look whether that is true. A rule
// that is not listed gets a row that does not say yet what it asks.
func (m *Module) UpdateSecurityRules() string {
	l := m.securityList()
	lines := slices.Clone(l.lines)
	for _, row := range l.rows {
		lines[row.line-1] = l.updated(row)
	}
	type added struct {
		line int // of the file as it was
		text string
	}
	var more []added
	for _, id := range l.unlisted() {
		if line, ok := l.place(id); ok {
			more = append(more, added{line, l.updated(ruleRow{id: id, state: stateKept})})
		}
	}
	slices.SortStableFunc(more, func(a, b added) int { return a.line - b.line })
	for _, row := range slices.Backward(more) { // from the end, so that the numbers stay right
		lines = slices.Insert(lines, row.line, row.text)
	}
	return strings.Join(lines, "\n") + "\n"
}

func (l *securityList) updated(row ruleRow) string {
	tests := l.named(row.id)
	for _, name := range row.tests {
		test, ok := l.tests[name]
		if ok && !slices.Contains(test.rules, row.id) {
			tests = append(tests, name)
		}
	}
	tests = slices.Compact(tests)
	if len(tests) > 0 && (row.state == stateUntested || strings.HasPrefix(row.state, stateAbsent)) {
		row.state = stateKept
	}
	cell := "–"
	if len(tests) > 0 {
		cell = "`" + strings.Join(tests, "`, `") + "`"
	}
	return "| " + row.id + " | " + row.asks + " | " + row.state + " | " + cell + " |"
}

// unlisted are the ids that tests are named after and that have no row, sorted.
func (l *securityList) unlisted() []string {
	ids := map[string]bool{}
	for _, test := range l.tests {
		for _, id := range test.rules {
			if _, ok := l.row(id); !ok {
				ids[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// place is the index of the line before which a rule goes: behind the rules of its kind
// with lower numbers. It is false when no rule of the kind is listed.
func (l *securityList) place(id string) (line int, ok bool) {
	for _, row := range l.rows {
		switch {
		case row.id[:2] != id[:2]:
		case row.id < id:
			line, ok = row.line, true
		case !ok:
			return row.line - 1, true
		}
	}
	return line, ok
}
