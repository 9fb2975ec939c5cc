package archtest

import (
	"path"
	"slices"
	"strings"
)

// topLevel is every folder at the root. It does not grow.
func topLevel() []string {
	return []string{".ci", ".git", ".github", "config", "examples", "middleware", "oauth", "provider"}
}

// vague are the names of packages that would be about nothing in particular.
func vague() []string {
	return []string{"util", "utils", "common", "types", "model", "models", "helper", "helpers"}
}

func layoutRules() []Rule {
	return []Rule{{
		Name:  "fixed-top-level",
		Right: "put it below one of the folders that exist; what a program leaves behind goes into .gitignore",
		check: fixedTopLevel,
	}, {
		Name:  "no-replace",
		Right: "a replace does not reach who imports this module: require a version that works; nested modules may replace",
		check: noReplace,
	}, {
		Name:  "packages-named-for-what-they-do",
		Right: "name the technology or the deed, or move each function to the package that uses it",
		check: perFile(wellNamed),
	}, {
		Name:  "packages-say-what-they-are",
		Right: "begin one file with a comment \"Package x …\" that states the package's invariant (a command: any comment)",
		check: packageComments,
	}}
}

func fixedTopLevel(m *Module) []Fault {
	var faults []Fault
	for _, folder := range m.folders {
		if !slices.Contains(topLevel(), folder) {
			faults = append(faults, Fault{File: folder, What: "is a new top-level folder"})
		}
	}
	return faults
}

func noReplace(m *Module) []Fault {
	var faults []Fault
	for i, l := range m.goMod {
		if word, _, _ := strings.Cut(l, " "); strings.TrimSuffix(word, "(") == "replace" {
			faults = append(faults, Fault{File: "go.mod", Line: i + 1, What: "has a replace"})
		}
	}
	return faults
}

func wellNamed(f *file) []Fault {
	name := strings.TrimSuffix(f.syntax.Name.Name, "_test")
	for _, n := range []string{name, path.Base(f.dir)} {
		if slices.Contains(vague(), n) {
			return []Fault{f.fault(f.line(f.syntax.Name), "is in a package called %s", n)}
		}
	}
	return nil
}

// packageComments finds packages without a comment. That of a package with
// shipping files stands in one of these, where go doc looks for it.
func packageComments(m *Module) []Fault {
	byDir := make(map[string][]*file)
	var dirs []string
	for _, f := range m.files {
		if byDir[f.dir] == nil {
			dirs = append(dirs, f.dir)
		}
		byDir[f.dir] = append(byDir[f.dir], f)
	}
	var faults []Fault
	for _, dir := range dirs {
		files := byDir[dir]
		shipping := slices.DeleteFunc(slices.Clone(files), func(f *file) bool { return f.test })
		if len(shipping) > 0 {
			files = shipping
		}
		if !slices.ContainsFunc(files, hasPackageComment) {
			faults = append(faults, files[0].fault(0, "package %s has no package comment", files[0].syntax.Name.Name))
		}
	}
	return faults
}

func hasPackageComment(f *file) bool {
	name, text := f.syntax.Name.Name, f.syntax.Doc.Text()
	if f.test || name == "main" {
		return text != ""
	}
	return strings.HasPrefix(text, "Package "+name+" ")
}

// forTests tells whether the package at dir exists for tests, which its name
// says: storetest, mailtest, providertest.
func forTests(dir string) bool {
	return slices.ContainsFunc(strings.Split(dir, "/"), func(part string) bool {
		return strings.HasSuffix(part, "test")
	})
}
