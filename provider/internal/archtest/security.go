package archtest

import (
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// securityFile lists the rules of security, how each stands, and its tests. People
// write it, except for the tests: UpdateSecurityRules puts those in.
const securityFile = "provider/SECURITY-RULES.md"

// The states of a rule. The last two go on with a colon and a clause: what is missing,
// or which feature there is not.
const (
	stateKept   = "kept"
	statePartly = "partly: "
	stateAbsent = "no such feature: "
)

// stateUntested is for a rule that nothing is known to be wrong with and that has no
// test. UpdateSecurityRules takes it away when one comes.
const stateUntested = statePartly + "no test"

// fositeFaults is how many faults of fosite the list has, numbered from 1.
const fositeFaults = 25

func securityRules() []Rule {
	return []Rule{{
		Name:  "security-rules-are-all-listed",
		Right: "give each rule one row, and in it a sentence that says what the rule asks",
		check: ofSecurity(notListed),
	}, {
		Name:  "security-rules-have-a-state",
		Right: `write "kept" and have a test, or "partly: " and what is missing, or "no such feature: " and which`,
		check: ofSecurity(wrongState),
	}, {
		Name:  "security-rules-name-their-tests",
		Right: `run "go test ./provider/internal/archtest -update", and read what it has changed`,
		check: ofSecurity(wrongTests),
	}, {
		Name:  "faults-of-fosite-have-a-rule",
		Right: "give each of the 25 one row, which ends with the ids of rules of the tables above it",
		check: ofSecurity(wrongFaults),
	}}
}

// alwaysListed are the rules that have a row whether or not there is a test or even
// anything that they are about. Of other kinds those are listed that have a test.
func alwaysListed() []string {
	var ids []string
	for _, section := range []struct {
		kind        string
		first, last int
	}{{"AS", 1, 34}, {"AS", 40, 67}, {"AS", 70, 82}, {"OP", 1, 16}} {
		for n := section.first; n <= section.last; n++ {
			ids = append(ids, fmt.Sprintf("%s-%02d", section.kind, n))
		}
	}
	return ids
}

// A securityList is what the file says, and what tests there are.
type securityList struct {
	lines  []string
	rows   []ruleRow
	fosite []fositeRow
	tests  map[string]testFunc // by the name that the list calls it by
}

// A ruleRow is the row of one rule: its id, what it asks, how it stands, its tests.
type ruleRow struct {
	line            int // from 1
	id, asks, state string
	tests           []string
}

// A fositeRow is the row of one fault of fosite.
type fositeRow struct {
	line, number int
	rules        []string
}

// A testFunc is a function that the go command runs as a test or a fuzz target.
type testFunc struct {
	name  string // as in the list: without folder for ./provider
	file  string
	line  int
	rules []string // the ids that it is named after
}

var (
	idOfRule  = regexp.MustCompile(`^[A-Z]{2}-[0-9]{2}$`)
	idOfFault = regexp.MustCompile(`^[0-9]{1,2}$`)
	idInName  = regexp.MustCompile(`^_?(AS|OP|RS|EC|EM|FT|PR)([0-9]{2})(?:[^0-9]|$)`)
	quoted    = regexp.MustCompile("`([^`]+)`")
	isTest    = regexp.MustCompile(`^(Test|Fuzz)([^a-z]|$)`)
)

// ofSecurity makes a check of a module from a check of its list. That there is none is
// told once, by notListed.
func ofSecurity(check func(*securityList) []Fault) func(*Module) []Fault {
	return func(m *Module) []Fault { return check(m.securityList()) }
}

func (m *Module) securityList() *securityList {
	list := &securityList{lines: m.security, tests: map[string]testFunc{}}
	for i, line := range m.security {
		cells := strings.Split(line, "|")
		if len(cells) != 6 { // before the first bar, four cells, behind the last
			continue
		}
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(cell)
		}
		switch id := cells[1]; {
		case idOfRule.MatchString(id):
			row := ruleRow{line: i + 1, id: id, asks: cells[2], state: cells[3]}
			for _, name := range quoted.FindAllStringSubmatch(cells[4], -1) {
				row.tests = append(row.tests, name[1])
			}
			list.rows = append(list.rows, row)
		case idOfFault.MatchString(id):
			n, _ := strconv.Atoi(id) // two digits
			list.fosite = append(list.fosite, fositeRow{i + 1, n, strings.Split(cells[4], ", ")})
		}
	}
	for _, f := range m.files {
		for _, test := range testsOf(f) {
			list.tests[test.name] = test
		}
	}
	return list
}

func testsOf(f *file) []testFunc {
	if !f.test {
		return nil
	}
	var tests []testFunc
	for _, d := range f.syntax.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !isTest.MatchString(fn.Name.Name) {
			continue
		}
		name := f.dir + "." + fn.Name.Name
		if f.dir == "provider" {
			name = fn.Name.Name
		}
		tests = append(tests, testFunc{name, f.name, f.line(fn), rulesIn(fn.Name.Name)})
	}
	return tests
}

// rulesIn are the ids at the beginning of a test's name: AS-71 and AS-76 of
// TestAS71_AS76_Outage.
func rulesIn(name string) []string {
	rest, ok := strings.CutPrefix(name, "Test")
	var ids []string
	for ok {
		found := idInName.FindStringSubmatch(rest)
		if found == nil {
			break
		}
		ids = append(ids, found[1]+"-"+found[2])
		_, rest, ok = strings.Cut(rest, found[1]+found[2])
	}
	return ids
}

// row returns the row of a rule.
func (l *securityList) row(id string) (ruleRow, bool) {
	i := slices.IndexFunc(l.rows, func(r ruleRow) bool { return r.id == id })
	if i < 0 {
		return ruleRow{}, false
	}
	return l.rows[i], true
}

// named are the names of the tests that are named after a rule.
func (l *securityList) named(id string) []string {
	var names []string
	for _, test := range l.tests {
		if slices.Contains(test.rules, id) {
			names = append(names, test.name)
		}
	}
	slices.Sort(names)
	return names
}

func inSecurity(line int, format string, args ...any) Fault {
	return Fault{File: securityFile, Line: line, What: fmt.Sprintf(format, args...)}
}

func notListed(l *securityList) []Fault {
	if len(l.lines) == 0 {
		return []Fault{inSecurity(0, "does not exist")}
	}
	var faults []Fault
	seen := map[string]bool{}
	for _, row := range l.rows {
		if seen[row.id] {
			faults = append(faults, inSecurity(row.line, "%s has a second row", row.id))
		}
		if row.asks == "" {
			faults = append(faults, inSecurity(row.line, "the row of %s does not say what it asks", row.id))
		}
		seen[row.id] = true
	}
	for _, id := range alwaysListed() {
		if !seen[id] {
			faults = append(faults, inSecurity(0, "%s has no row", id))
		}
	}
	return faults
}

func wrongState(l *securityList) []Fault {
	var faults []Fault
	for _, row := range l.rows {
		partly, absent := strings.HasPrefix(row.state, statePartly), strings.HasPrefix(row.state, stateAbsent)
		switch has := len(row.tests) > 0; {
		case row.state == stateKept && !has:
			faults = append(faults, inSecurity(row.line, "%s is kept, but has no test", row.id))
		case absent && has:
			faults = append(faults, inSecurity(row.line, "%s is of no feature, but has a test", row.id))
		case row.state == stateUntested && has:
			faults = append(faults, inSecurity(row.line, "%s has a test, but its state says no", row.id))
		case row.state != stateKept && !partly && !absent:
			faults = append(faults, inSecurity(row.line, "%s has the state %q", row.id, row.state))
		}
	}
	return faults
}

func wrongTests(l *securityList) []Fault {
	if len(l.lines) == 0 {
		return nil
	}
	var faults []Fault
	for _, row := range l.rows {
		for _, name := range row.tests {
			if _, ok := l.tests[name]; !ok {
				faults = append(faults, inSecurity(row.line, "%s names %s, which does not exist", row.id, name))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.tests)) {
		test := l.tests[name]
		for _, id := range test.rules {
			row, ok := l.row(id)
			switch {
			case !ok:
				faults = append(faults, Fault{File: test.file, Line: test.line, What: name + " is of " + id + ", which is not listed"})
			case !slices.Contains(row.tests, name):
				faults = append(faults, Fault{File: test.file, Line: test.line, What: name + " is not in the row of " + id})
			}
		}
	}
	return faults
}

func wrongFaults(l *securityList) []Fault {
	if len(l.lines) == 0 {
		return nil
	}
	var faults []Fault
	rows := map[int]int{}
	for _, f := range l.fosite {
		rows[f.number]++
		for _, id := range f.rules {
			if _, ok := l.row(id); !ok {
				faults = append(faults, inSecurity(f.line, "fault %d leads to %q, which is no rule that is listed", f.number, id))
			}
		}
	}
	for n := 1; n <= fositeFaults; n++ {
		if rows[n] != 1 {
			faults = append(faults, inSecurity(0, "fault %d of fosite has %d rows", n, rows[n]))
		}
	}
	return faults
}
