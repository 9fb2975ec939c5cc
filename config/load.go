package config

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
)

const (
	maxFile       = 1 << 20
	maxSecretFile = 64 << 10
)

// Load puts a configuration together: the defaults, over them the YAML file (none
// when file is empty), over that the LETTERGATE_ variables of environ (as
// [os.Environ] returns them), and checks the whole.
//
// A variable is named after the path of its key, LETTERGATE_MAIL_HOST or
// LETTERGATE_CLIENTS_0_CLIENT_ID, and a list of texts may be given whole, separated
// by commas. A [Secret] may also stand in a file of at most 64 KiB that the variable with
// _FILE at its end names; one newline at the end of that file is not part of it. The
// variables that Kubernetes sets for a service called lettergate are passed over.
//
// The error is a [Faults] with all that is wrong, or says why file cannot be read.
func Load(file string, environ []string) (Config, error) {
	l := loader{source: file, places: map[string]place{}}
	l.cfg.fillFixed()
	readable := true
	if file != "" {
		data, err := readBounded(file, maxFile+1)
		if err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
		readable = l.readFile(data)
	}
	l.readEnviron(environ)
	l.cfg.fillDerived()
	if readable {
		l.validate()
	}
	if len(l.faults) > 0 {
		l.faults.sort()
		return Config{}, l.faults
	}
	return l.cfg, nil
}

// A loader is one run of Load.
type loader struct {
	cfg    Config
	source string // the file's name
	places map[string]place
	faults Faults
}

// A place is where a path got its value.
type place struct {
	source       string
	line, column int
}

func (l *loader) fault(at place, path, format string, args ...any) {
	l.faults = append(l.faults, Fault{
		Source: at.source, Line: at.line, Column: at.column,
		Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// validate adds the faults of the whole, except those that only repeat that a
// value could not be read.
func (l *loader) validate() {
	unread := l.faults
	for _, f := range l.cfg.faults() {
		repeats := false
		for _, u := range unread {
			repeats = repeats || under(f.Path, u.Path)
		}
		if !repeats {
			l.fault(l.placeOf(f.Path), f.Path, "%s", f.Message)
		}
	}
}

// placeOf returns where path was set, or what it is missing from.
func (l *loader) placeOf(path string) place {
	for ; path != ""; path = parentPath(path) {
		if at, ok := l.places[path]; ok {
			return at
		}
	}
	return place{source: l.source}
}

// forget drops the places inside path, which got a new value as a whole.
func (l *loader) forget(path string) {
	for p := range l.places {
		if under(p, path) {
			delete(l.places, p)
		}
	}
}

// readBounded returns the first limit bytes of a file.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[Duration]()
)

// keyOf returns the name of a field in files.
func keyOf(field reflect.StructField) string {
	key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return key
}

// keysOf returns the names of all fields of a struct type.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = keyOf(t.Field(i))
	}
	return keys
}
