package config

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	envPrefix  = "LETTERGATE_"
	fileSuffix = "_FILE"
)

// serviceLink matches what Kubernetes sets in every container beside a service
// called lettergate. No key begins like these.
var serviceLink = regexp.MustCompile(`^LETTERGATE_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// A variable is one LETTERGATE_ variable and the key that it sets.
type variable struct {
	name, value string
	steps       []int // field numbers of structs and indexes of lists, from Config on
	fromFile    bool  // value names a file
}

// readEnviron sets what the environment says.
func (l *loader) readEnviron(environ []string) {
	var variables []variable
	values := lastOfEach(environ)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(name, envPrefix) || serviceLink.MatchString(name) {
			continue
		}
		v, ok := resolve(name)
		if !ok {
			l.fault(place{source: showKey(name)}, "", "is not a known variable%s", suggestVariable(name))
			continue
		}
		v.value = values[name]
		variables = append(variables, v)
	}
	// Lists grow from their beginning, whatever the order of the environment; a
	// list as a whole comes before its items.
	slices.SortFunc(variables, func(a, b variable) int {
		return cmp.Or(slices.Compare(a.steps, b.steps), cmp.Compare(a.name, b.name))
	})
	for i, v := range variables {
		if i > 0 && slices.Equal(variables[i-1].steps, v.steps) {
			l.fault(place{source: v.name}, "", "is set, and %s too: set one of them", variables[i-1].name)
			continue
		}
		l.setVariable(v)
	}
}

// lastOfEach splits an environment; of a name that is there twice the last counts,
// as it does for os.Getenv.
func lastOfEach(environ []string) map[string]string {
	values := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	return values
}

// resolve finds the key that a variable is named after.
func resolve(name string) (variable, bool) {
	root, rest := reflect.TypeFor[Config](), strings.TrimPrefix(name, envPrefix)
	if steps, leaf := resolveIn(root, rest); leaf != nil {
		return variable{name: name, steps: steps}, true
	}
	if before, found := strings.CutSuffix(rest, fileSuffix); found {
		if steps, leaf := resolveIn(root, before); leaf == secretType {
			return variable{name: name, steps: steps, fromFile: true}, true
		}
	}
	return variable{}, false
}

// resolveIn returns the steps from type t to what rest names, and its type; nil
// when rest names nothing that can be set by a text.
func resolveIn(t reflect.Type, rest string) ([]int, reflect.Type) {
	if rest == "" {
		if t.Kind() == reflect.Struct || t.Kind() == reflect.Slice && t != stringsType {
			return nil, nil
		}
		return nil, t
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			after, found := strings.CutPrefix(rest, envKey(t.Field(i)))
			if !found || after != "" && after[0] != '_' {
				continue
			}
			steps, leaf := resolveIn(t.Field(i).Type, strings.TrimPrefix(after, "_"))
			if leaf != nil {
				return append([]int{i}, steps...), leaf
			}
		}
	case reflect.Slice:
		number, after, _ := strings.Cut(rest, "_")
		i, err := strconv.Atoi(number)
		if err != nil || strconv.Itoa(i) != number || i < 0 {
			return nil, nil
		}
		steps, leaf := resolveIn(t.Elem(), after)
		return append([]int{i}, steps...), leaf
	}
	return nil, nil
}

var stringsType = reflect.TypeFor[[]string]()

func envKey(field reflect.StructField) string { return strings.ToUpper(keyOf(field)) }

// variablesOf names the two variables that the secret at path can come from.
func variablesOf(path string) string {
	name := envPrefix + strings.ToUpper(strings.NewReplacer("[", "_", "]", "", ".", "_").Replace(path))
	return name + " (or " + name + fileSuffix + ", the name of a file with it)"
}

// setVariable sets the key that a variable is for.
func (l *loader) setVariable(v variable) {
	at := place{source: v.name}
	field, path, ok := l.reach(v, at)
	if !ok {
		return
	}
	text := v.value
	if v.fromFile {
		var err error
		if text, err = readSecret(v.value); err != nil {
			l.fault(at, path, "%s", err)
			return
		}
	}
	l.forget(path)
	l.places[path] = at
	switch {
	case field.Type() == stringsType:
		field.Set(reflect.ValueOf(splitList(text)))
	case field.Type() == secretType && text == "":
		// An empty secret is one that did not arrive, not one to do without.
		l.fault(at, path, "is empty: give it a value or unset it")
	default:
		if err := setText(field, text); err != nil {
			l.fault(at, path, "%s", err)
		}
	}
}

// reach walks to what a variable sets, and makes list items on the way.
func (l *loader) reach(v variable, at place) (field reflect.Value, path string, ok bool) {
	field = reflect.ValueOf(&l.cfg).Elem()
	for _, step := range v.steps {
		if field.Kind() == reflect.Struct {
			path = keyPath(path, keyOf(field.Type().Field(step)))
			field = field.Field(step)
			continue
		}
		if step > field.Len() {
			l.fault(at, indexPath(path, step), "leaves a gap: the list has %d entries so far, and the next is number %d", field.Len(), field.Len())
			return reflect.Value{}, "", false
		}
		if step == field.Len() {
			field.Set(reflect.Append(field, reflect.Zero(field.Type().Elem())))
		}
		path, field = indexPath(path, step), field.Index(step)
	}
	return field, path, true
}

func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// readSecret returns what a secret's file contains. Its errors do not repeat the
// name: it may be the secret itself, put into the wrong variable.
func readSecret(name string) (string, error) {
	data, err := readBounded(name, maxSecretFile+1)
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err
		}
		return "", errors.New("the file that it names cannot be read: " + err.Error())
	}
	if len(data) > maxSecretFile {
		return "", errors.New("the file that it names is larger than 64 KiB")
	}
	text, found := strings.CutSuffix(string(data), "\n")
	if found {
		text = strings.TrimSuffix(text, "\r")
	}
	if text == "" {
		return "", errors.New("the file that it names is empty")
	}
	return text, nil
}

var listIndex = regexp.MustCompile(`_\d+(_|$)`)

// suggestVariable returns the end of the message about an unknown variable.
// Indexes are compared as what they are, not as letters.
func suggestVariable(name string) string {
	var indexes []string
	pattern := listIndex.ReplaceAllStringFunc(name, func(match string) string {
		indexes = append(indexes, strings.Trim(match, "_"))
		return strings.Replace(match, indexes[len(indexes)-1], "#", 1)
	})
	near := closest(strings.TrimPrefix(pattern, envPrefix), variableNames(reflect.TypeFor[Config](), ""))
	if near == "" {
		return ""
	}
	for _, index := range indexes {
		near = strings.Replace(near, "#", index, 1)
	}
	return "; did you mean " + envPrefix + strings.ReplaceAll(near, "#", "0") + "?"
}

// variableNames lists the names of all variables of a type, without LETTERGATE_
// and with # for an index.
func variableNames(t reflect.Type, prefix string) []string {
	switch {
	case t.Kind() == reflect.Struct:
		var names []string
		for i := range t.NumField() {
			name := strings.TrimPrefix(prefix+"_"+envKey(t.Field(i)), "_")
			names = append(names, variableNames(t.Field(i).Type, name)...)
		}
		return names
	case t == stringsType:
		return []string{prefix, prefix + "_#"}
	case t.Kind() == reflect.Slice:
		return variableNames(t.Elem(), prefix+"_#")
	case t == secretType:
		return []string{prefix, prefix + fileSuffix}
	default:
		return []string{prefix}
	}
}
