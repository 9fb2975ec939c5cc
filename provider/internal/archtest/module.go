package archtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Module is the source of one Go module, as far as the rules look at it.
type Module struct {
	path    string   // as go.mod names it
	goMod   []string // the lines of go.mod
	folders []string // top-level folders that .gitignore does not name
	files   []*file  // in the order of their names

	security []string // the lines of the list of security rules, nil without one
}

// A file is one parsed Go file.
type file struct {
	name   string // from the module's root, with slashes
	dir    string // the folder of name, which is also the package's path in the module
	test   bool   // the name ends in _test.go
	lines  int
	fset   *token.FileSet
	syntax *ast.File
	// ours holds the imports from this module, by their path inside it; theirs
	// those of other modules; std those of the standard library.
	ours, theirs, std []imported
}

type imported struct {
	path string
	line int
}

// Load reads the module whose root is fsys: every Go file in it, except what
// the go command also leaves out (testdata and folders that begin with a dot or
// an underscore), node_modules, and nested modules. It fails when there is no
// go.mod or when a file cannot be read or parsed.
func Load(fsys fs.FS) (*Module, error) {
	goMod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	m := &Module{goMod: lines(goMod)}
	for _, l := range m.goMod {
		if name, ok := strings.CutPrefix(l, "module "); ok {
			m.path = strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	if m.path == "" {
		return nil, errors.New("read the module: go.mod has no module line")
	}
	if m.folders, err = topFolders(fsys); err != nil {
		return nil, err
	}
	list, err := fs.ReadFile(fsys, securityFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the security rules: %w", err)
	}
	if len(list) > 0 {
		m.security = strings.Split(strings.TrimSuffix(string(list), "\n"), "\n")
	}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(fsys, name):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		f, err := m.parse(fsys, name)
		m.files = append(m.files, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	return m, nil
}

// skipped tells whether the walk leaves out the folder called name.
func skipped(fsys fs.FS, name string) bool {
	if name == "." {
		return false
	}
	base := path.Base(name)
	if base == "testdata" || base == "node_modules" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(name, "go.mod"))
	return err == nil
}

// topFolders lists the folders at the root, without those that the root's
// .gitignore names: they are left by running the programs, not written.
func topFolders(fsys fs.FS) ([]string, error) {
	ignore, err := fs.ReadFile(fsys, ".gitignore")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read .gitignore: %w", err)
	}
	ignored := lines(ignore)
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list the top level: %w", err)
	}
	var folders []string
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(ignored, e.Name()+"/") {
			folders = append(folders, e.Name())
		}
	}
	return folders, nil
}

func (m *Module) parse(fsys fs.FS, name string) (*file, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	f := &file{
		name:  name,
		dir:   path.Dir(name),
		test:  strings.HasSuffix(name, "_test.go"),
		lines: len(lines(src)),
		fset:  token.NewFileSet(),
	}
	f.syntax, err = parser.ParseFile(f.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, spec := range f.syntax.Imports {
		whole, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import path: %w", name, err)
		}
		in := imported{path: whole, line: f.line(spec)}
		first, _, _ := strings.Cut(whole, "/")
		switch inside, ours := strings.CutPrefix(whole, m.path+"/"); {
		case ours:
			in.path = inside
			f.ours = append(f.ours, in)
		case strings.Contains(first, "."):
			f.theirs = append(f.theirs, in)
		default:
			f.std = append(f.std, in)
		}
	}
	return f, nil
}

// line is the line on which n begins.
func (f *file) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

// named is the name under which f imports the standard package p, or "" when it
// does not import it.
func (f *file) named(p string) string {
	for _, spec := range f.syntax.Imports {
		switch {
		case spec.Path.Value != strconv.Quote(p):
		case spec.Name != nil:
			return spec.Name.Name
		default:
			return path.Base(p)
		}
	}
	return ""
}

// lines splits b into its lines, without the white space around each.
func lines(b []byte) []string {
	var all []string
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, len(b)+1)
	for s.Scan() {
		all = append(all, strings.TrimSpace(s.Text()))
	}
	return all
}
