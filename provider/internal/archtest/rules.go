package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// A Rule is one thing that holds for the whole module.
type Rule struct {
	// Name is short and has dashes for spaces: it names a subtest.
	Name string
	// Right says what to do instead of breaking the rule.
	Right string

	check func(*Module) []Fault
}

// A Fault is one place that breaks a rule.
type Fault struct {
	Rule string // Rule.Name
	File string // path from the module's root
	Line int    // 0 when the fault is not on one line
	What string // what was found there
	// Right is Rule.Right.
	Right string
}

// String says where the fault is, what it is and what would be right.
func (f Fault) String() string {
	place := f.File
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s: %s\n\trule: %s\n\tright: %s", place, f.What, f.Rule, f.Right)
}

// Check returns each place of m that breaks the rule, in the order of the files.
func (r Rule) Check(m *Module) []Fault {
	faults := r.check(m)
	for i := range faults {
		faults[i].Rule, faults[i].Right = r.Name, r.Right
	}
	return faults
}

// Rules lists every rule of the module.
func Rules() []Rule {
	return slices.Concat(importRules(), orderRules(), sourceRules(), layoutRules(), securityRules())
}

// perFile makes a check of a module from a check of one file.
func perFile(check func(*file) []Fault) func(*Module) []Fault {
	return func(m *Module) []Fault {
		var faults []Fault
		for _, f := range m.files {
			faults = append(faults, check(f)...)
		}
		return faults
	}
}

// fault is a fault of f at a line.
func (f *file) fault(line int, format string, args ...any) Fault {
	return Fault{File: f.name, Line: line, What: fmt.Sprintf(format, args...)}
}

// within tells whether name is one of the patterns: a path, or a path and "/..."
// for it and all below it, as the go command writes them. "..." alone is
// everything.
func within(name string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		root, tree := strings.CutSuffix(p, "/...")
		return p == "..." || name == root || tree && strings.HasPrefix(name, root+"/")
	})
}
