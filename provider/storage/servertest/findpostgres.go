package servertest

import (
	"cmp"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// programs are the paths of those that are needed.
type programs struct{ initdb, postgres, psql string }

// places are where distributions keep the server, which is seldom in PATH.
func places() []string {
	return []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"}
}

// findPostgres looks in places, which are patterns, and then in PATH. Of several
// versions it takes the highest.
func findPostgres(places ...string) (programs, error) {
	var dirs []string
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		dirs = append(dirs, found...)
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path)) // where a packager's links are all together
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, dir := range dirs {
		if p, ok := programsIn(dir); ok {
			return p, nil
		}
	}
	return programs{}, errors.New("initdb, postgres and psql are not in /usr/lib/postgresql/*/bin or PATH; install them, e.g. apt-get install postgresql")
}

func programsIn(dir string) (programs, bool) {
	p := programs{filepath.Join(dir, "initdb"), filepath.Join(dir, "postgres"), filepath.Join(dir, "psql")}
	for _, path := range []string{p.initdb, p.postgres} {
		if _, err := exec.LookPath(path); err != nil {
			return p, false
		}
	}
	if _, err := exec.LookPath(p.psql); err == nil {
		return p, true
	}
	var err error
	p.psql, err = exec.LookPath("psql")
	return p, err == nil
}

// version is the number in /usr/lib/postgresql/15/bin or /usr/pgsql-15/bin.
func version(dir string) float64 {
	name := filepath.Base(filepath.Dir(dir))
	v, _ := strconv.ParseFloat(strings.TrimPrefix(name, "pgsql-"), 64)
	return v
}
