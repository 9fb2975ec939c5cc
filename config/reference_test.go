package config_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

// The reference and the schema are made from the structs: their comments, their
// tags and the values of Default. Write them with
//
//	go test ./config -run Reference -update

const referenceHead = `<!-- Generated from the structs of this package by "go test ./config -run Reference -update". Do not edit. -->

# Configuration

A deployment is one YAML file. Each key can also be set by an environment variable, which wins over the file; what is in neither has its default. Without any
file Lettergate is a development server on http://localhost:8080.

- Unknown keys, unknown ` + "`LETTERGATE_…`" + ` variables and duplicate keys are errors. All faults are reported at once.
- In the name of a variable ` + "`0`" + ` is the number of a list item: 0, 1, 2 and so on without a gap. A list of texts can also be set whole, separated by commas.
- A **secret** can be kept in a file of its own: put ` + "`_FILE`" + ` after the name of its variable, and the name of the file into it.
- A **duration** is a number with a unit: ` + "`90s`, `10m`, `12h`, `30d`, `1d12h`" + `.
- YAML's anchors, aliases, tags and merge keys are not supported.

An editor that knows YAML schemas helps with [schema.json](schema.json): ` + "`# yaml-language-server: $schema=…/config/schema.json`" + `.
`

// structDocs returns the doc comments of the structs of a configuration and of their
// fields, by "Type" and "Type.Field".
func structDocs(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, name := range []string{"config.go", "client.go", "jwks.go", "mail.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.TYPE {
				structDoc(docs, gen)
			}
		}
	}
	return docs
}

func structDoc(docs map[string]string, gen *ast.GenDecl) {
	spec := gen.Specs[0].(*ast.TypeSpec)
	docs[spec.Name.Name] = gen.Doc.Text()
	for _, field := range spec.Type.(*ast.StructType).Fields.List {
		docs[spec.Name.Name+"."+field.Names[0].Name] = field.Doc.Text()
	}
}

// An entry is one key of the reference.
type entry struct {
	path, variable, doc string
	field               reflect.StructField
	value               reflect.Value // the default; invalid when it depends on other keys
}

func yamlKey(f reflect.StructField) string { return f.Tag.Get("yaml") }

// entries lists the keys of a struct, sections before what is in them.
func entries(docs map[string]string, t reflect.Type, defaults, others reflect.Value, path, variable string) []entry {
	var list []entry
	for i := range t.NumField() {
		f := t.Field(i)
		e := entry{path: strings.TrimPrefix(path+"."+yamlKey(f), "."), variable: variable + "_" + strings.ToUpper(yamlKey(f)), field: f}
		e.doc = keyWords(unwrap(docs[t.Name()+"."+f.Name]), t, f)
		var inner, innerOthers reflect.Value
		if defaults.IsValid() {
			inner, innerOthers = defaults.Field(i), others.Field(i)
			if !inner.IsZero() && reflect.DeepEqual(inner.Interface(), innerOthers.Interface()) {
				e.value = inner
			}
		}
		if f.Type == reflect.TypeFor[[]config.Secret]() {
			e.variable += "_0" // a secret may contain a comma
		}
		list = append(list, e)
		switch {
		case f.Type.Kind() == reflect.Struct:
			list = append(list, entries(docs, f.Type, inner, innerOthers, e.path, e.variable)...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			list = append(list, entries(docs, f.Type.Elem(), reflect.Value{}, reflect.Value{}, e.path+"[]", e.variable+"_0")...)
		}
	}
	return list
}

// unwrap makes each paragraph of a comment one line.
func unwrap(comment string) string {
	paragraphs := strings.Split(comment, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

// goName matches what may be the name of a field inside a sentence.
var goName = regexp.MustCompile(`([a-z,(] )([A-Z][A-Za-z]+)\b`)

// keyWords turns the names of fields in a comment into keys: those of the struct t
// that the comment is in, and those of Config.
func keyWords(doc string, t reflect.Type, f reflect.StructField) string {
	if rest, found := strings.CutPrefix(doc, f.Name+" "); found {
		doc = "`" + yamlKey(f) + "` " + rest
	}
	doc = strings.ReplaceAll(doc, " ([Off])", "")
	return goName.ReplaceAllStringFunc(doc, func(match string) string {
		before, name := match[:2], match[2:]
		for _, in := range []reflect.Type{t, reflect.TypeFor[config.Config]()} {
			if field, ok := in.FieldByName(name); ok {
				return before + "`" + yamlKey(field) + "`"
			}
		}
		return match
	})
}

var (
	secretType   = reflect.TypeFor[config.Secret]()
	durationType = reflect.TypeFor[config.Duration]()
)

func typeWords(t reflect.Type) string {
	switch {
	case t == secretType:
		return "secret"
	case t == durationType:
		return "duration"
	case t.Kind() == reflect.Int:
		return "whole number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "list"
	case t.Kind() == reflect.Slice:
		return "list of " + typeWords(t.Elem()) + "s"
	default:
		return "text"
	}
}

// rules splits a validate tag into the rules of the value and those of the items
// of a list.
func rules(f reflect.StructField) (value, items map[string]string) {
	value, items = map[string]string{}, map[string]string{}
	into := value
	for rule := range strings.SplitSeq(f.Tag.Get("validate"), ",") {
		if name, param, _ := strings.Cut(rule, "="); name == "dive" {
			into = items
		} else if name != "" {
			into[name] = param
		}
	}
	return value, items
}

func reference(t *testing.T) []entry {
	t.Helper()
	defaults, others := config.Default(), config.Config{Issuer: "https://id.example.com"}.WithDefaults()
	others.Issuer = defaults.Issuer
	return entries(structDocs(t), reflect.TypeFor[config.Config](), reflect.ValueOf(defaults), reflect.ValueOf(others), "", "LETTERGATE")
}

func TestReference(t *testing.T) {
	var out strings.Builder
	out.WriteString(referenceHead)
	for _, e := range reference(t) {
		if e.doc == "" {
			t.Errorf("%s has no comment", e.path)
		}
		if e.field.Type.Kind() == reflect.Struct || typeWords(e.field.Type) == "list" {
			fmt.Fprintf(&out, "\n## `%s`\n\n%s\n", e.path, e.doc)
			continue
		}
		fmt.Fprintf(&out, "\n### `%s`\n\n`%s` · %s", e.path, e.variable, typeWords(e.field.Type))
		value, items := rules(e.field)
		for _, set := range []map[string]string{value, items} {
			if known, ok := set["oneof"]; ok {
				out.WriteString(" · `" + strings.ReplaceAll(known, " ", "`, `") + "`")
			}
		}
		out.WriteString(bounds(e.field.Type, value))
		fmt.Fprintf(&out, "\n\n%s\n", strings.ReplaceAll(e.doc, "<", `\<`))
	}
	golden(t, "REFERENCE.md", out.String())
}

// bounds puts the least and the most that a value can be into words.
func bounds(t reflect.Type, value map[string]string) string {
	unit := map[reflect.Kind]string{reflect.String: " characters", reflect.Slice: " entries"}[t.Kind()]
	var words string
	for _, rule := range [][2]string{{"min", "at least"}, {"min_duration", "at least"}, {"max", "at most"}, {"max_duration", "at most"}} {
		if bound, ok := value[rule[0]]; ok {
			words += " · " + rule[1] + " " + bound + unit
		}
	}
	return words
}

// TestReferenceVariables checks that Load knows each variable of the reference.
func TestReferenceVariables(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range reference(t) {
		if e.field.Type.Kind() == reflect.Struct || typeWords(e.field.Type) == "list" {
			continue
		}
		names := []string{e.variable}
		if strings.HasPrefix(typeWords(e.field.Type), "list of texts") {
			names = append(names, e.variable+"_0")
		}
		if strings.Contains(typeWords(e.field.Type), "secret") {
			names = append(names, e.variable+"_FILE")
		}
		for _, name := range names {
			if seen[name] {
				t.Errorf("%s is the name of two variables", name)
			}
			seen[name] = true
			if _, err := config.Load("", []string{name + "=/nonexistent"}); err != nil && strings.Contains(err.Error(), "not a known variable") {
				t.Error(err)
			}
		}
	}
}

var statedDefault = regexp.MustCompile(`Default ("[^"]+"|[^\s,]+)`)

// TestReferenceDefaults checks that each comment states the default that is true.
func TestReferenceDefaults(t *testing.T) {
	for _, e := range reference(t) {
		if !e.value.IsValid() || e.field.Type.Kind() == reflect.Struct {
			continue
		}
		stated := statedDefault.FindStringSubmatch(e.doc)
		if stated == nil {
			t.Errorf("%s: its comment states no default", e.path)
			continue
		}
		text := strings.Trim(strings.TrimSuffix(stated[1], "."), `"`)
		if d, err := config.ParseDuration(text); err == nil && e.field.Type == durationType {
			text = d.String()
		}
		if want := plainDefault(e.value); text != fmt.Sprint(want) {
			t.Errorf("%s: its comment states the default %s, and it is %v", e.path, text, want)
		}
	}
}

// plainDefault returns a default as it may be shown; none of them is secret.
func plainDefault(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case config.Secret:
		return value.Reveal()
	case config.Duration:
		return value.String()
	default:
		return value
	}
}

func TestReferenceSchema(t *testing.T) {
	schema := schemaOf(structDocs(t), reflect.TypeFor[config.Config](), reference(t), "")
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Lettergate configuration"
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.json", string(text)+"\n")
}

// schemaOf returns the JSON Schema of a struct whose keys begin with prefix.
func schemaOf(docs map[string]string, t reflect.Type, all []entry, prefix string) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		path := prefix + yamlKey(f)
		value, items := rules(f)
		var property map[string]any
		switch {
		case f.Type.Kind() == reflect.Struct:
			property = schemaOf(docs, f.Type, all, path+".")
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			property = map[string]any{"type": "array", "items": schemaOf(docs, f.Type.Elem(), all, path+"[].")}
		case f.Type.Kind() == reflect.Slice:
			property = map[string]any{"type": "array", "items": scalarSchema(f.Type.Elem(), items)}
			if _, unique := value["unique"]; unique {
				property["uniqueItems"] = true
			}
			if most, err := strconv.Atoi(value["max"]); err == nil {
				property["maxItems"] = most
			}
		default:
			property = scalarSchema(f.Type, value)
		}
		for _, e := range all {
			if e.path != path {
				continue
			}
			property["description"] = e.doc
			if e.value.IsValid() && f.Type.Kind() != reflect.Struct {
				property["default"] = plainDefault(e.value)
			}
		}
		if _, ok := value["required"]; ok && strings.HasSuffix(prefix, "[].") {
			required = append(required, yamlKey(f))
		}
		properties[yamlKey(f)] = property
	}
	schema := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

// scalarSchema returns the schema of one value. A number may stand where a text
// is wanted: it is taken as it is written.
func scalarSchema(t reflect.Type, rules map[string]string) map[string]any {
	schema := map[string]any{"type": []string{"string", "number"}}
	least, most := "minLength", "maxLength"
	switch {
	case t == durationType:
		return map[string]any{"type": "string", "pattern": `^(0|([0-9.]+(d|h|m|s|ms|us|µs|ns))+)$`}
	case t.Kind() == reflect.Int:
		schema["type"] = "integer"
		least, most = "minimum", "maximum"
	case t.Kind() == reflect.Bool:
		schema["type"] = "boolean"
	}
	for name, key := range map[string]string{"min": least, "max": most} {
		if n, err := strconv.Atoi(rules[name]); err == nil {
			schema[key] = n
		}
	}
	if known, ok := rules["oneof"]; ok {
		schema = map[string]any{"enum": strings.Fields(known)}
	}
	return schema
}
