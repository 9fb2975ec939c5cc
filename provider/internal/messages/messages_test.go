package messages_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lettergate/lettergate/provider/internal/messages"
)

func catalogue(t testing.TB) *messages.Catalogue {
	t.Helper()
	c, err := messages.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func files(content map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, data := range content {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return fsys
}

func TestText(t *testing.T) {
	c, err := messages.Load(files(map[string]string{
		"en.json": `{"a": "{x}, {y_2} and {x}", "b": "plain"}`,
		"de.json": `{"a": "{y_2} und {x}", "b": "schlicht"}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	args := map[string]string{"x": "{y_2}", "y_2": "${x}{{x}}", "z": "unused"}
	for _, row := range []struct {
		lang, id string
		args     map[string]string
		want     string
	}{
		{"en", "a", args, "{y_2}, ${x}{{x}} and {y_2}"}, // arguments are not expanded
		{"de", "a", args, "${x}{{x}} und {y_2}"},
		{"fr", "b", nil, "plain"},
		{"", "b", nil, "plain"},
		{"en", "a", nil, "{x}, {y_2} and {x}"},
		{"en", "no.such.id", args, "no.such.id"},
	} {
		if got := c.Text(row.lang, row.id, row.args); got != row.want {
			t.Errorf("Text(%q, %q) = %q; want %q", row.lang, row.id, got, row.want)
		}
	}
	if got, ok := c.Placeholders("a"); !ok || !slices.Equal(got, []string{"x", "y_2"}) {
		t.Errorf("Placeholders = %q, %v", got, ok)
	}
}

func TestLoadRefuses(t *testing.T) {
	const en = `{"a": "{x}", "b": "plain"}`
	for want, fsys := range map[string]fstest.MapFS{
		"en.json is missing":      files(map[string]string{"de.json": en}),
		"not a language tag":      files(map[string]string{"en.json": en, "english-texts.json": en}),
		"canonical":               files(map[string]string{"en.json": en, "pt-br.json": en}),
		"b is missing":            files(map[string]string{"en.json": en, "de.json": `{"a": "{x}"}`}),
		"unknown id c":            files(map[string]string{"en.json": en, "de.json": `{"a": "{x}", "b": "y", "c": "z"}`}),
		"a has the placeholders":  files(map[string]string{"en.json": en, "de.json": `{"a": "{y}", "b": "y"}`}),
		"b has the placeholders":  files(map[string]string{"en.json": en, "de.json": `{"a": "{x}", "b": "{x}"}`}),
		"} without":               files(map[string]string{"en.json": `{"a": "x}"}`}),
		"without a placeholder":   files(map[string]string{"en.json": `{"a": "{X y}"}`}),
		"{ without a placeholder": files(map[string]string{"en.json": `{"a": "{x"}`}),
		"the text is empty":       files(map[string]string{"en.json": `{"a": ""}`}),
		"cannot unmarshal":        files(map[string]string{"en.json": `{"a": {"b": "c"}}`}),
		"invalid character":       files(map[string]string{"en.json": `{"a": "b",}`}),
	} {
		if _, err := messages.Load(fsys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want an error with %q", err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	texts := `{"a": "b"}`
	c, err := messages.Load(files(map[string]string{
		"en.json": texts, "de.json": texts, "zh-Hans.json": texts, "pt-BR.json": texts,
	}))
	if err != nil {
		t.Fatal(err)
	}
	for want, all := range map[string][][]string{
		"en": {
			nil, {""}, {"", ""}, {"ja"}, {"en-AU"}, {"*"}, {"fr, *;q=0.5"}, {"en, de"}, {"de;q=0.1, en"}, {"und"},
			{"\x00\xff"}, {strings.Repeat("de-", 1000)}, {strings.Repeat("de ", 1000)}, {strings.Repeat("x, ", 100) + "de"},
			{"", "", "", "", "", "", "", "", "de"}, {"en", "de"},
		},
		"de":      {{"de"}, {"de-AT"}, {"ja de en"}, {"ja", "de"}, {"de\r\nX: y"}, {"", "de, en"}, {"fr, de;q=0.9, en;q=0.1"}, {"de", "en"}, {"!!", "de"}},
		"zh-Hans": {{"zh-CN"}, {"zh"}},
		"pt-BR":   {{"pt-BR"}, {"pt-br"}, {"pt"}},
	} {
		for _, preferences := range all {
			if got := c.Match(preferences...); got != want {
				t.Errorf("Match(%.80q) = %q; want %q", preferences, got, want)
			}
		}
	}
}

// FZ-20.
func FuzzMatch(f *testing.F) {
	f.Add("fr-CA fr en", "de;q=0.9, *;q=0.1")
	f.Add("\x00", "-,-;q=")
	c := catalogue(f)
	f.Fuzz(func(t *testing.T, locales, header string) {
		if got := c.Match(locales, header); !slices.Contains(c.Languages(), got) {
			t.Fatalf("Match(%q, %q) = %q", locales, header, got)
		}
	})
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"Notes": "Notes", "  Notes \n\t of  Kim ": "Notes of Kim", "": "", "\u202E\u200B\x00": "",
		"http://evil.example": "http evil.example", "::////": ": //", "a\u202Eb": "a b",
		`say "hi" “there”`: "say 'hi' 'there'", "日本語": "日本語", "می\u200Cخواهم": "می\u200Cخواهم",
		"a\xffb": "a\uFFFDb", strings.Repeat("é", 64): strings.Repeat("é", 64), strings.Repeat("é", 65): strings.Repeat("é", 63) + "…",
		"</p>": "</p>", // escaping is for whoever writes HTML
	} {
		if got := messages.Name(in); got != want {
			t.Errorf("Name(%q) = %q; want %q", in, got, want)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("a://b")
	f.Add("::////")
	f.Fuzz(func(t *testing.T, s string) {
		got := messages.Name(s)
		if len([]rune(got)) > 64 || strings.Contains(got, "://") || strings.ContainsAny(got, "\r\n\x00\u202E\u2028“”\"") {
			t.Fatalf("Name(%q) = %q", s, got)
		}
		if again := messages.Name(got); again != got {
			t.Fatalf("Name(%q) = %q, whose Name is %q", s, got, again)
		}
	})
}

// id is what a text's id looks like, wherever it is quoted in the source. A part
// of an id stands for all ids that begin with it.
var id = regexp.MustCompile("[\"`]((?:api|page|mail|devbox)\\.[a-z0-9_.]+)[\"`]")

// TestSourceAndCatalogueAgree finds every id that shipping code and templates
// name, and every id that nothing names.
func TestSourceAndCatalogueAgree(t *testing.T) {
	ids := catalogue(t).IDs()
	used := make(map[string]bool)
	for file, content := range sources(t) {
		for _, match := range id.FindAllStringSubmatch(content, -1) {
			if strings.HasSuffix(match[1], ".tmpl") {
				continue // a file's name
			}
			known := false
			for _, i := range ids {
				if i == match[1] || strings.HasPrefix(i, strings.TrimSuffix(match[1], ".")+".") {
					known, used[i] = true, true
				}
			}
			if !known {
				t.Errorf("%s names the text %s, which is not in en.json", file, match[1])
			}
		}
	}
	for _, i := range ids {
		if !used[i] {
			t.Errorf("en.json has %s, which nothing names", i)
		}
	}
}

// sources returns the content of the files that show texts: pages, mails, the
// answers to apps and the development mailbox.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, root := range []string{"../page", "../interact", "../cloudbase", "../../mail"} {
		err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && entry.Name() == "testdata" {
				return filepath.SkipDir
			}
			if entry.IsDir() || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			content, err := os.ReadFile(path)
			all[path] = string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d files found", len(all))
	}
	return all
}

// Sorted, the files merge well, and an id cannot be there twice without notice
// (encoding/json would take the last).
func TestFilesAreSorted(t *testing.T) {
	names, err := filepath.Glob("*.json")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	key := regexp.MustCompile(`(?m)^  "([^"]+)": `)
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, match := range key.FindAllStringSubmatch(string(content), -1) {
			keys = append(keys, match[1])
		}
		if !slices.IsSorted(keys) || len(keys) != len(catalogue(t).IDs()) {
			t.Errorf("%s: the ids are not sorted, one a line", name)
		}
	}
}
