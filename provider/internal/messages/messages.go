// Package messages is the one catalogue of texts that people see, on pages and in
// mails, by id and language.
//
// Its invariant: every language has exactly the ids of English, each with the
// same {placeholders}, so that choosing a language can never lose a sentence or
// a code. [New] refuses a catalogue for which that is not so.
//
// A text is plain text. Whoever writes it into HTML escapes it there, which
// html/template does by itself.
package messages

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// Default is the language that every other one is compared with, and the one used
// when nothing else fits.
const Default = "en"

// What Match reads of a stranger's preferences. A browser sends about 100 bytes.
const (
	maxPreferences = 8
	maxPreference  = 512
)

//go:embed *.json
var embedded embed.FS

// A Catalogue holds the texts of all languages. It is immutable and safe for
// concurrent use.
type Catalogue struct {
	languages []string // Default first: the matcher's fallback
	matcher   language.Matcher
	texts     map[string]map[string]text // by language, then id
}

// A text is cut at its placeholders once, so that an argument which looks like a
// placeholder is never expanded.
type text []segment

type segment struct {
	literal string
	name    string // of a placeholder that follows the literal, or ""
}

// New returns the catalogue that is part of the program.
func New() (*Catalogue, error) { return Load(embedded) }

// Load reads every <language>.json at the root of fsys, each one flat object of
// id and text. It reports all faults at once.
func Load(fsys fs.FS) (*Catalogue, error) {
	files, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, fmt.Errorf("list the message files: %w", err)
	}
	c := &Catalogue{languages: []string{Default}, texts: make(map[string]map[string]text)}
	var faults []error
	for _, file := range files {
		lang := strings.TrimSuffix(path.Base(file), ".json")
		if tag, err := language.Parse(lang); err != nil || tag.String() != lang {
			faults = append(faults, fmt.Errorf("%s: %q is not a language tag in its canonical form", file, lang))
			continue
		}
		texts, err := parseFile(fsys, file)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		c.texts[lang] = texts
		if lang != Default {
			c.languages = append(c.languages, lang)
		}
	}
	if c.texts[Default] == nil {
		return nil, errors.Join(append(faults, fmt.Errorf("%s.json is missing or unreadable", Default))...)
	}
	for _, lang := range c.languages[1:] {
		faults = append(faults, compare(lang, c.texts[lang], c.texts[Default])...)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("message catalogue: %w", errors.Join(faults...))
	}
	tags := make([]language.Tag, len(c.languages))
	for i, lang := range c.languages {
		tags[i] = language.Make(lang)
	}
	c.matcher = language.NewMatcher(tags)
	return c, nil
}

func parseFile(fsys fs.FS, file string) (map[string]text, error) {
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var raw map[string]string
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	texts := make(map[string]text, len(raw))
	var faults []error
	for _, id := range slices.Sorted(maps.Keys(raw)) {
		t, err := parse(raw[id])
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %s: %w", file, id, err))
		}
		texts[id] = t
	}
	return texts, errors.Join(faults...)
}

// parse cuts s at its placeholders. There is no way to write a literal brace:
// no sentence needs one.
func parse(s string) (text, error) {
	if s == "" {
		return nil, errors.New("the text is empty")
	}
	var t text
	for s != "" {
		literal, rest, found := strings.Cut(s, "{")
		if strings.Contains(literal, "}") {
			return nil, errors.New("a } without its {")
		}
		if !found {
			return append(t, segment{literal: literal}), nil
		}
		name, rest, closed := strings.Cut(rest, "}")
		if !closed || !placeholder(name) {
			return nil, errors.New("a { without a placeholder of letters a-z, digits and _")
		}
		t = append(t, segment{literal: literal, name: name})
		s = rest
	}
	return t, nil
}

func placeholder(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// compare reports what texts lacks and has too much, compared with want.
func compare(lang string, texts, want map[string]text) (faults []error) {
	for _, id := range slices.Sorted(maps.Keys(want)) {
		t, ok := texts[id]
		if !ok {
			faults = append(faults, fmt.Errorf("%s.json: %s is missing", lang, id))
		} else if got, want := t.placeholders(), want[id].placeholders(); !slices.Equal(got, want) {
			faults = append(faults, fmt.Errorf("%s.json: %s has the placeholders %q; %s.json has %q", lang, id, got, Default, want))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		if _, ok := want[id]; !ok {
			faults = append(faults, fmt.Errorf("%s.json: unknown id %s", lang, id))
		}
	}
	return faults
}

// placeholders returns the sorted names in t, each once.
func (t text) placeholders() []string {
	var names []string
	for _, s := range t {
		if s.name != "" {
			names = append(names, s.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Languages returns the languages of the catalogue, [Default] first.
func (c *Catalogue) Languages() []string { return slices.Clone(c.languages) }

// IDs returns all ids, sorted.
func (c *Catalogue) IDs() []string { return slices.Sorted(maps.Keys(c.texts[Default])) }

// Placeholders returns the sorted names of the placeholders in the text of id,
// and whether there is such a text.
func (c *Catalogue) Placeholders(id string) ([]string, bool) {
	t, ok := c.texts[Default][id]
	return t.placeholders(), ok
}

// Match returns the language of the catalogue that suits best. Each preference is
// either a ui_locales parameter (tags separated by spaces, OpenID Connect Core
// section 3.1.2.1) or an Accept-Language header (RFC 9110 section 12.5.4); an
// earlier one wins. What cannot be understood is passed over.
func (c *Catalogue) Match(preferences ...string) string {
	if len(preferences) > maxPreferences {
		preferences = preferences[:maxPreferences]
	}
	for _, p := range preferences {
		if len(p) > maxPreference {
			continue
		}
		for _, tags := range wishes(p) {
			if _, i, confidence := c.matcher.Match(tags...); confidence != language.No {
				return c.languages[i]
			}
		}
	}
	return Default
}

// wishes returns the tags of one preference: those of a header together, because
// their weights order them, those of ui_locales one by one.
func wishes(preference string) [][]language.Tag {
	if strings.ContainsAny(preference, ",;") {
		tags, _, err := language.ParseAcceptLanguage(preference)
		if err != nil || len(tags) == 0 {
			return nil
		}
		return [][]language.Tag{tags}
	}
	var all [][]language.Tag
	for _, field := range strings.Fields(preference) {
		if tag, err := language.Parse(field); err == nil && tag != language.Und {
			all = append(all, []language.Tag{tag})
		}
	}
	return all
}

// Text returns the text of id in lang, English if there is no such language, with
// its placeholders replaced. An argument is never expanded itself. A missing
// argument leaves its placeholder standing and an unknown id returns the id, so
// that both are seen; a test finds every id of the source in the catalogue.
func (c *Catalogue) Text(lang, id string, args map[string]string) string {
	texts, ok := c.texts[lang]
	if !ok {
		texts = c.texts[Default]
	}
	t, ok := texts[id]
	if !ok {
		return id
	}
	var b strings.Builder
	for _, s := range t {
		b.WriteString(s.literal)
		if s.name == "" {
			continue
		}
		if value, ok := args[s.name]; ok {
			b.WriteString(value)
		} else {
			b.WriteString("{" + s.name + "}")
		}
	}
	return b.String()
}
