package page_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/internal/page"
)

func parse(t testing.TB, s string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// find returns the elements called name, in document order, or all for "*".
func find(doc *html.Node, name string) []*html.Node {
	var found []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && (name == "*" || n.Data == name) {
			found = append(found, n)
		}
	}
	return found
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// skeleton is a page without what strangers have a say in: every element with its
// depth and attributes, less the values of inputs and the queries of links.
func skeleton(doc *html.Node) []string {
	var lines []string
	var walk func(*html.Node, string)
	walk = func(n *html.Node, indent string) {
		switch n.Type {
		case html.CommentNode:
			lines = append(lines, indent+"<!-- a comment -->")
		case html.ElementNode:
			line := indent + n.Data
			for _, a := range n.Attr {
				switch {
				case a.Key == "value" && n.Data == "input":
					a.Val = "…"
				case a.Key == "href":
					a.Val, _, _ = strings.Cut(a.Val, "?")
				}
				line += " " + a.Key + "=" + a.Val
			}
			lines = append(lines, line)
		}
		for c := range n.ChildNodes() {
			walk(c, indent+" ")
		}
	}
	walk(doc, "")
	return lines
}

// FZ-09: nothing that a stranger chooses adds, removes or changes an element.
func FuzzPages(f *testing.F) {
	const quote = `"'><script>alert(1)</script><!--`
	f.Add(quote, quote, quote, quote, quote)
	f.Add(`</title></style><base href=//evil>`, `</p><a href=//evil>`, `</code><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `{client}{{.}}${x}`)
	f.Add("\u202eevil\u2066", "\x00\xff\r\n", "\u2028", "http://evil", "${}{{}}")
	f.Add("", "", "", "", "")
	f.Add(strings.Repeat("<b>", 2000), strings.Repeat("é", 5000), strings.Repeat("&lt;", 1000), strings.Repeat("\"", 5000), "9")

	r := newRenderer(f)
	want := map[string][]string{}
	for name := range variants(calm) {
		golden, err := os.ReadFile(filepath.Join("testdata", name+".html"))
		if err != nil {
			f.Fatal(err)
		}
		want[name] = skeleton(parse(f, string(golden)))
	}
	f.Fuzz(func(t *testing.T, client, email, scope, hidden, arg string) {
		for name, p := range variants(input{client, email, scope, hidden, arg}) {
			got := skeleton(parse(t, render(t, r, 200, p).Body.String()))
			if diff := cmp.Diff(want[name], got); diff != "" {
				t.Errorf("%s: the page has other elements, -golden +got:\n%s", name, diff)
			}
		}
	})
}

// EC-35, OP-09: what is shown of names and addresses.
func TestHostileText(t *testing.T) {
	r := newRenderer(t)
	heading := func(name string) string {
		w := render(t, r, 200, page.SignIn{Client: &page.Client{Name: name}})
		return text(find(parse(t, w.Body.String()), "h1")[0])
	}
	for name, want := range map[string]string{
		"Notes":                        "Notes",
		`</h1><a href=//evil>x`:        `</h1><a href=//evil>x`,
		"{provider} {{.Page}} ${x}":    "{provider} {{.Page}} ${x}",
		"\u202eabc":                    "abc",
		"a\r\nb":                       "a b",
		"\x00\u200b":                   "an app without a name",
		"":                             "an app without a name",
		"\u05d0\u05d1":                 "\u2068\u05d0\u05d1\u2069", // does not reorder our sentence
		strings.Repeat("é", 4096):      strings.Repeat("é", 63) + "…",
		"http://evil.example/?sign-in": "http evil.example/?sign-in",
	} {
		if got, want := heading(name), "Sign in to continue to “"+want+"”"; got != want {
			t.Errorf("%.40q: %q, want %q", name, got, want)
		}
	}

	for hint, want := range map[string]string{
		"ada@example.com":                  "ada@example.com",
		`"><script>@example.com`:           `"><script>@example.com`,
		"ada\u202e@example.com\r\n":        "ada@example.com",
		strings.Repeat("a", 10<<10):        strings.Repeat("a", 254),
		strings.Repeat("a", 253) + "é@x.y": strings.Repeat("a", 253),
	} {
		doc := parse(t, render(t, r, 200, page.SignIn{Email: hint}).Body.String())
		if got := attr(byID(t, doc, "email"), "value"); got != want {
			t.Errorf("%.40q: %q, want %q", hint, got, want)
		}
	}
}

// AS-33: what a client is told arrives as it is, whatever is in it, where it registered,
// letter by letter; and the one script is the one that the policy allows.
func TestAS33_FormPost(t *testing.T) {
	r := newRenderer(t)
	for name, value := range map[string]string{
		"markup": `"><script>alert(1)</script><input name="code" value="`, "entities": "&quot;&lt;&amp;", "quotes": "'\"`", "template": "{{.Page}}",
		"end of a script": "</script><!--", "UTF-8": "ключ-鍵-🔑", "spaces": "  two  ", "tab": "\t", "controls": "\x01\x7f", "URL": "javascript:alert(1)", "plus": "a+b%20c",
	} {
		for _, uri := range []string{
			"https://app.example/callback", "https://app.example/cb?tenant=a%2Fb&x=&y='()*!~;,+$", "http://127.0.0.1:49152/cb", "http://[::1]:49152/cb", "https://app.example",
		} {
			fields := []page.Field{{Name: "error_description", Value: value}, {Name: "state", Value: value}}
			w := render(t, r, 200, page.FormPost{Client: &page.Client{Name: value}, Action: uri, Hidden: fields})
			doc := parse(t, w.Body.String())
			forms, inputs, scripts := find(doc, "form"), find(doc, "input"), find(doc, "script")
			if len(forms) != 1 || attr(forms[0], "action") != uri || attr(forms[0], "method") != "post" {
				t.Fatalf("%s: %d forms, to %q", name, len(forms), attr(forms[0], "action"))
			}
			if len(inputs) != 2 || attr(inputs[0], "value") != value || attr(inputs[1], "value") != value || attr(inputs[1], "name") != "state" {
				t.Errorf("%s: the form has %v", name, inputs)
			}
			if policy := w.Header().Get("Content-Security-Policy"); len(scripts) != 1 || strings.Count(policy, "script-src "+hash(text(scripts[0]))+";") != 1 {
				t.Errorf("%s: %d scripts under %s", name, len(scripts), policy)
			}
		}
	}
}

func byID(t testing.TB, doc *html.Node, id string) *html.Node {
	t.Helper()
	for _, n := range find(doc, "*") {
		if attr(n, "id") == id {
			return n
		}
	}
	t.Fatalf("no #%s", id)
	return nil
}

// The ids that scripted browsers rely on, and EC-39.
func TestFixedIDs(t *testing.T) {
	r := newRenderer(t)
	pages := variants(calm)
	for name, ids := range map[string][]string{
		"signin": {"email", "submit"}, "code": {"code", "submit", "resend"},
		"consent": {"allow", "deny"}, "formpost": {"submit"}, "signedin": {"submit"}, "logout": {"confirm"}, "link": {"confirm"}, "password": {"email", "password", "submit", "use-code"},
	} {
		doc := parse(t, render(t, r, 200, pages[name]).Body.String())
		for _, id := range ids {
			byID(t, doc, id)
		}
	}
	code := byID(t, parse(t, render(t, r, 200, pages["code"]).Body.String()), "code")
	if attr(code, "autocomplete") != "one-time-code" || attr(code, "inputmode") != "numeric" {
		t.Errorf("#code has %v", code.Attr)
	}
}

// Each page can be read and used by everybody, without scripts.
func TestAccessible(t *testing.T) {
	r := newRenderer(t)
	for name, p := range variants(calm) {
		t.Run(name, func(t *testing.T) {
			doc := parse(t, render(t, r, 200, p).Body.String())
			for _, once := range []string{"title", "main", "h1"} {
				if n := find(doc, once); len(n) != 1 || strings.TrimSpace(text(n[0])) == "" {
					t.Errorf("%d <%s>, want one with text", len(n), once)
				}
			}
			ids, labels := map[string]bool{}, map[string]bool{}
			for _, n := range find(doc, "*") {
				if id := attr(n, "id"); id != "" {
					if ids[id] {
						t.Errorf("#%s twice", id)
					}
					ids[id] = true
				}
				labels[attr(n, "for")] = true
				if n.Data == "script" && name != "formpost" || slices.ContainsFunc(n.Attr, func(a html.Attribute) bool {
					return strings.HasPrefix(a.Key, "on") || a.Key == "style"
				}) {
					t.Errorf("<%s> has code or style of its own", n.Data)
				}
			}
			for _, n := range find(doc, "*") {
				if n.Data == "input" && attr(n, "type") != "hidden" && !labels[attr(n, "id")] {
					t.Errorf("#%s has no label", attr(n, "id"))
				}
				for id := range strings.FieldsSeq(attr(n, "aria-describedby")) {
					if !ids[id] {
						t.Errorf("aria-describedby names #%s, which is not there", id)
					}
				}
			}
		})
	}
}

// Every text on a page is in the catalogue, and every text for pages is used.
func TestMessages(t *testing.T) {
	catalogue, err := messages.New()
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	sources = append(sources, "page.go", "pages.go")
	used := map[string]bool{}
	for _, file := range sources {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(page\.[a-z_.]+)"`).FindAllStringSubmatch(string(data), -1) {
			ids := []string{m[1]}
			if _, ok := catalogue.Placeholders(m[1]); !ok {
				ids = []string{m[1] + ".title", m[1] + ".text"} // what can end a flow has two texts
			}
			for _, id := range ids {
				if _, ok := catalogue.Placeholders(id); !ok {
					t.Errorf("%s: %s is not in the catalogue", file, id)
				}
				used[id] = true
			}
		}
	}
	for _, id := range catalogue.IDs() {
		if strings.HasPrefix(id, "page.") && !used[id] {
			t.Errorf("%s is not used", id)
		}
	}

	// No placeholder is left standing, whatever went wrong.
	pages := variants(calm)
	for id := range used {
		if strings.HasPrefix(id, "page.problem.") {
			pages[id] = page.SignIn{Error: id, ErrorArgs: map[string]string{"seconds": "9"}}
		} else if problem, ok := strings.CutSuffix(id, ".text"); ok && strings.HasPrefix(id, "page.error.") {
			pages[id] = page.Error{Problem: problem}
		}
	}
	r := newRenderer(t)
	for name, p := range pages {
		doc := parse(t, render(t, r, 200, p).Body.String())
		for _, n := range append(find(doc, "title"), find(doc, "main")...) {
			if s := text(n); strings.ContainsAny(s, "{}") {
				t.Errorf("%s: a placeholder is left in %q", name, s)
			}
		}
	}
}
