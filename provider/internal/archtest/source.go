package archtest

import (
	"go/ast"
	"regexp"
	"slices"
)

const (
	maxFileLines = 600
	maxFuncLines = 100
)

// leftover matches what marks a comment as work not done.
var leftover = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b|(?i:\bnot\s+implemented\b)`)

func sourceRules() []Rule {
	return []Rule{{
		Name:  "short-files",
		Right: "cut it by what its parts are about, at most 600 lines each",
		check: perFile(shortFile),
	}, {
		Name:  "short-functions",
		Right: "name its steps, at most 100 lines each; rows of a table can be data",
		check: perFile(shortFunctions),
	}, {
		Name:  "no-init",
		Right: "do it in New, or in the one place that needs it",
		check: perFile(noInit),
	}, {
		Name:  "nothing-left-over",
		Right: "do it now, or open an issue",
		check: perFile(nothingLeftOver),
	}, {
		Name:  "no-skipped-tests",
		Right: "lanes are build tags: a test that runs at all must be able to fail",
		check: perFile(noSkip),
	}, {
		Name:  "tests-never-sleep",
		Right: "use testing/synctest, wait for the event itself, or inject the clock",
		check: perFile(noSleep),
	}}
}

func shortFile(f *file) []Fault {
	if f.lines <= maxFileLines {
		return nil
	}
	return []Fault{f.fault(0, "%d lines", f.lines)}
}

func shortFunctions(f *file) []Fault {
	var faults []Fault
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		name := "a function literal"
		switch n := n.(type) {
		case *ast.FuncDecl:
			name = "func " + n.Name.Name
		case *ast.FuncLit:
		default:
			return true
		}
		long := f.fset.Position(n.End()).Line - f.line(n) + 1
		if long <= maxFuncLines {
			return true
		}
		faults = append(faults, f.fault(f.line(n), "%s has %d lines", name, long))
		return false // the long functions inside it are the same fault
	})
	return faults
}

func noInit(f *file) []Fault {
	var faults []Fault
	for _, d := range f.syntax.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			faults = append(faults, f.fault(f.line(fn), "has an init function"))
		}
	}
	return faults
}

func nothingLeftOver(f *file) []Fault {
	var faults []Fault
	for _, group := range f.syntax.Comments {
		for _, c := range group.List {
			if mark := leftover.FindString(c.Text); mark != "" {
				faults = append(faults, f.fault(f.line(c), "a comment says %q", mark))
			}
		}
	}
	return faults
}

// noSkip finds Skip, Skipf and SkipNow of whatever the file declares as a
// *testing.T, B or F or a testing.TB: a parameter, a field or a variable.
func noSkip(f *file) []Fault {
	pkg := f.named("testing")
	if pkg == "" {
		return nil
	}
	var tests []string
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			tests = append(tests, testNames(n.Type, n.Names, pkg)...)
		case *ast.ValueSpec:
			tests = append(tests, testNames(n.Type, n.Names, pkg)...)
		}
		return true
	})
	skips := []string{"Skip", "Skipf", "SkipNow"}
	var faults []Fault
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if ok && slices.Contains(skips, s.Sel.Name) && slices.Contains(tests, last(s.X)) {
			faults = append(faults, f.fault(f.line(s.Sel), "calls %s.%s", last(s.X), s.Sel.Name))
		}
		return true
	})
	return faults
}

// testNames are the names declared with typ when typ is package testing's T, B,
// F or TB or a pointer to one. A field without a name is called as its type.
func testNames(typ ast.Expr, idents []*ast.Ident, pkg string) []string {
	if p, ok := typ.(*ast.StarExpr); ok {
		typ = p.X
	}
	s, ok := typ.(*ast.SelectorExpr)
	if !ok || last(s.X) != pkg || !slices.Contains([]string{"T", "B", "F", "TB"}, s.Sel.Name) {
		return nil
	}
	names := make([]string, 0, len(idents)+1)
	for _, id := range idents {
		names = append(names, id.Name)
	}
	if len(names) == 0 {
		names = append(names, s.Sel.Name)
	}
	return names
}

// last is the last name of x: b of a.b, or "".
func last(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

func noSleep(f *file) []Fault {
	pkg := f.named("time")
	if !f.test || pkg == "" {
		return nil
	}
	var faults []Fault
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" && last(s.X) == pkg {
			faults = append(faults, f.fault(f.line(s), "calls time.Sleep"))
		}
		return true
	})
	return faults
}
