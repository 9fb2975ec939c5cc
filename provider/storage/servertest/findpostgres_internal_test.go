package servertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine makes a folder with programs, which are paths below it.
func machine(t *testing.T, programs ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, p := range programs {
		name := filepath.Join(root, p)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFindPostgres(t *testing.T) {
	for _, test := range []struct {
		name     string
		programs []string
		path     string // below the root
		want     programs
	}{{
		name: "the highest version by its number",
		programs: []string{
			"lib/9.6/bin/initdb", "lib/9.6/bin/postgres", "lib/9.6/bin/psql",
			"lib/15/bin/initdb", "lib/15/bin/postgres", "lib/15/bin/psql",
		},
		want: programs{"lib/15/bin/initdb", "lib/15/bin/postgres", "lib/15/bin/psql"},
	}, {
		name: "the highest version that is a server",
		programs: []string{
			"lib/14/bin/initdb", "lib/14/bin/postgres", "lib/14/bin/psql", "lib/15/bin/psql", "lib/16/bin/initdb",
		},
		want: programs{"lib/14/bin/initdb", "lib/14/bin/postgres", "lib/14/bin/psql"},
	}, {
		name:     "PATH when there is no other",
		programs: []string{"bin/initdb", "bin/postgres", "bin/psql"},
		path:     "bin",
		want:     programs{"bin/initdb", "bin/postgres", "bin/psql"},
	}, {
		name: "psql from PATH",
		programs: []string{
			"lib/15/bin/initdb", "lib/15/bin/postgres", "bin/psql",
		},
		path: "bin",
		want: programs{"lib/15/bin/initdb", "lib/15/bin/postgres", "bin/psql"},
	}, {
		name:     "none",
		programs: []string{"bin/postgres", "bin/psql"},
		path:     "bin",
	}} {
		t.Run(test.name, func(t *testing.T) {
			root := machine(t, test.programs...)
			t.Setenv("PATH", filepath.Join(root, test.path))
			got, err := findPostgres(filepath.Join(root, "lib/*/bin"))
			if test.want == (programs{}) {
				if err == nil || !strings.Contains(err.Error(), "apt-get install postgresql") {
					t.Fatalf("got %v, %v; want an error that says what to install", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []*string{&got.initdb, &got.postgres, &got.psql} {
				*p = strings.TrimPrefix(*p, root+"/")
			}
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestFindPostgresThroughLinks(t *testing.T) {
	root := machine(t, "opt/bin/initdb", "opt/bin/postgres", "opt/bin/psql")
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "opt/bin/initdb"), filepath.Join(root, "bin/initdb")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(root, "bin"))
	got, err := findPostgres()
	if err != nil || got.postgres != filepath.Join(root, "opt/bin/postgres") {
		t.Errorf("got %v, %v", got, err)
	}
}
