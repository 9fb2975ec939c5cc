package config

import (
	"bytes"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxRefused is how many uses of what is refused are reported: more would only
// push the first of them out of sight.
const maxRefused = 20

// maxNesting is far beyond what a configuration needs (4), and far below what
// would exhaust the parser's stack.
const maxNesting = 64

// readFile sets what the YAML document in data says. It returns false when data
// is no such document, so that nothing more can be said about it.
func (l *loader) readFile(data []byte) (readable bool) {
	faults := len(l.faults)
	if len(data) > maxFile {
		l.fault(place{source: l.source}, "", "is larger than 1 MiB")
		return false
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		l.fault(l.firstInvalid(data), "", "is not UTF-8 text")
		return false
	}
	tokens := lexer.Tokenize(string(data))
	l.checkTokens(tokens)
	if len(l.faults) > faults {
		return false
	}
	// Duplicate keys are found below, all of them and not only the first.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		l.fault(l.syntaxPlace(err), "", "is not YAML: %s", syntaxMessage(err))
		return false
	}
	documents := 0
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			l.fault(l.nodePlace(doc.Body), "", "a second document begins here; a configuration is one document")
			return false
		}
		l.readNode(doc.Body, reflect.ValueOf(&l.cfg).Elem(), "")
	}
	return true
}

// firstInvalid finds the first byte that is not UTF-8.
func (l *loader) firstInvalid(data []byte) place {
	at := place{source: l.source, line: 1, column: 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		at.column++
		if r == '\n' {
			at.line, at.column = at.line+1, 1
		}
		data = data[size:]
	}
	return at
}

// refused are the parts of YAML that a configuration does without. Aliases make a
// short file long, merging makes the last of two keys win unseen, and tags change
// what a value means.
var refused = map[token.Type]string{
	token.AnchorType:     "anchors (&) are not supported: write the value out, or put it in quotes",
	token.AliasType:      "aliases (*) are not supported: write the value out, or put it in quotes",
	token.TagType:        "tags (!) are not supported: put a value that begins with ! in quotes",
	token.MergeKeyType:   "merging (<<) is not supported: write the keys out",
	token.MappingKeyType: "complex keys (?) are not supported",
	token.DirectiveType:  "directives (%) are not supported",
}

// checkTokens refuses what is refused wherever it stands, and nesting that is
// deeper than the parser's recursion should go. Nesting by indentation is bounded
// by the size of the file.
func (l *loader) checkTokens(tokens token.Tokens) {
	depth, run, line, found := 0, 0, 0, 0
	for _, t := range tokens {
		if why, ok := refused[t.Type]; ok {
			l.fault(l.tokenPlace(t), "", "%s", why)
			if found++; found == maxRefused {
				return
			}
		}
		if depth <= 0 && t.Position.Line != line {
			run, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingValueType:
			run++ // each may begin something inside the one before
		case token.CollectEntryType:
			run = 0
		}
		if depth > maxNesting || run > maxNesting {
			l.fault(l.tokenPlace(t), "", "is nested too deeply")
			return
		}
	}
}

func (l *loader) tokenPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{source: l.source}
	}
	return place{source: l.source, line: t.Position.Line, column: t.Position.Column}
}

// nodePlace returns where a value begins.
func (l *loader) nodePlace(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return l.tokenPlace(n.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return l.tokenPlace(n.Key.GetToken())
	}
	return l.tokenPlace(n.GetToken())
}

func (l *loader) syntaxPlace(err error) place {
	if located, ok := errors.AsType[yaml.Error](err); ok {
		return l.tokenPlace(located.GetToken())
	}
	return place{source: l.source}
}

// quoted matches what the parser repeats of the file. Punctuation that it merely
// expects, such as ']', is none of the file's.
var quoted = regexp.MustCompile(`:? ?("(\\.|[^"\\])*"|'[^\[\]{},]+')`)

// syntaxMessage returns the parser's message without the lines of the file that
// it would show, and without any text that it quotes: either may hold a secret.
func syntaxMessage(err error) string {
	located, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return "unknown fault"
	}
	return strings.TrimSpace(quoted.ReplaceAllString(located.GetMessage(), ""))
}

// readNode sets v, the value at path, from a node of the file. A null leaves v as
// it is.
func (l *loader) readNode(n ast.Node, v reflect.Value, path string) {
	if n == nil || n.Type() == ast.NullType {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		l.readStruct(n, v, path)
	case reflect.Slice:
		l.readList(n, v, path)
	default:
		l.readScalar(n, v, path)
	}
}

func (l *loader) readStruct(n ast.Node, v reflect.Value, path string) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		l.fault(l.nodePlace(n), path, "must be keys with values, as in “%s: …”", keyOf(v.Type().Field(0)))
		return
	}
	seen := make(map[string]place, len(values))
	for _, value := range values {
		key, at := value.Key.GetToken().Value, l.tokenPlace(value.Key.GetToken())
		inside := keyPath(path, showKey(key))
		if first, dup := seen[key]; dup {
			l.fault(at, inside, "is already set in line %d", first.line)
			continue
		}
		seen[key] = at
		field, ok := fieldOf(v, key)
		if !ok {
			l.fault(at, inside, "%s", unknownKey(v, key))
			continue
		}
		l.places[inside] = at
		l.readNode(value.Value, field, inside)
	}
}

// unknownKey says what is wrong with a key that v does not have. A struct whose keys
// others made up may know better than that it is a slip.
func unknownKey(v reflect.Value, key string) string {
	if s, ok := v.Interface().(interface{ unknown(key string) string }); ok {
		if why := s.unknown(key); why != "" {
			return why
		}
	}
	return "is not a known key" + didYouMean(key, keysOf(v.Type()))
}

func (l *loader) readList(n ast.Node, v reflect.Value, path string) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		l.fault(l.nodePlace(n), path, "must be a list, as in [a, b] or with one “- …” a line")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	for i, value := range list.Values {
		inside := indexPath(path, i)
		at := l.nodePlace(value)
		l.places[inside] = at
		if value.Type() == ast.NullType {
			l.fault(at, inside, "is empty")
			continue
		}
		l.readNode(value, v.Index(i), inside)
	}
}

func (l *loader) readScalar(n ast.Node, v reflect.Value, path string) {
	at := l.nodePlace(n)
	l.places[path] = at
	var text string
	switch n := n.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		text = n.GetToken().Value // as written, so that 0010 and 1.10 stay what they are
	case *ast.BoolNode:
		text = n.GetToken().Value
		if v.Kind() == reflect.String {
			l.fault(at, path, "must be text: put it in quotes")
			return
		}
	default:
		l.fault(at, path, "must be a single value, not a list or keys")
		return
	}
	if err := setText(v, text); err != nil {
		l.fault(at, path, "%s", err)
	}
}

// fieldOf returns the field of a struct that has a key.
func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if key != "" && keyOf(v.Type().Field(i)) == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// showKey returns a key as it may stand in a path.
func showKey(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return quote(key)
}
