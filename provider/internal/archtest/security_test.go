package archtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/internal/archtest"
)

const listFile = "provider/SECURITY-RULES.md"

// soundTests has a test of AS-01, one of AS-02 and AS-03, and one of nothing.
const soundTests = "package provider_test\n\nfunc TestAS01_Redirects() {}\n\nfunc TestAS02_AS03() {}\n\nfunc TestCodeFlow() {}\n\nfunc FuzzRedirects() {}\n"

// soundList is a complete list of security rules for soundTests and the test of EM-03
// in the folder provider/mail.
func soundList() string {
	var b strings.Builder
	b.WriteString("# Rules\n\n| id | rule | state | tests |\n|---|---|---|---|\n")
	for _, section := range []struct {
		kind        string
		first, last int
	}{{"AS", 1, 34}, {"AS", 40, 67}, {"AS", 70, 82}, {"OP", 1, 16}} {
		for n := section.first; n <= section.last; n++ {
			state, tests := "no such feature: anything", "–"
			switch id := fmt.Sprintf("%s-%02d", section.kind, n); id {
			case "AS-01":
				state, tests = "kept", "`TestAS01_Redirects`, `FuzzRedirects`"
			case "AS-02":
				state, tests = "kept", "`TestAS02_AS03`"
			case "AS-03":
				state, tests = "partly: nobody looks at the port", "`TestAS02_AS03`"
			case "AS-04":
				state = "partly: no test"
			}
			fmt.Fprintf(&b, "| %s-%02d | It asks. | %s | %s |\n", section.kind, n, state, tests)
		}
	}
	b.WriteString("\n| id | rule | state | tests |\n|---|---|---|---|\n| EM-03 | It asks. | kept | `provider/mail.TestEM03Auth` |\n")
	b.WriteString("\n| # | fault | guard | rules |\n|---|---|---|---|\n")
	for n := 1; n <= 25; n++ {
		fmt.Fprintf(&b, "| %d | It fails. | We guard. | AS-01, AS-02 |\n", n)
	}
	return b.String()
}

// listWith is soundList with a row, found by its beginning, replaced by others.
func listWith(row string, others ...string) string {
	before, rest, found := strings.Cut(soundList(), "\n| "+row+" |")
	if !found {
		panic("no row " + row)
	}
	_, after, _ := strings.Cut(rest, "\n")
	return strings.Join(append(append([]string{before}, others...), after), "\n")
}

const (
	lineAS01 = 5 // of the list
	lineEM03 = lineAS01 + 34 + 28 + 13 + 16 + 3
)

func securityBreaches() []breach {
	const tests = "provider/rules_test.go"
	at := func(rule string, line int) string { return fmt.Sprintf("%s %s:%d", rule, listFile, line) }
	kept := "| AS-05 | It asks. | kept | `TestCodeFlow` |"
	return []breach{
		{"an empty list", listFile, "", []string{at("security-rules-are-all-listed", 0)}},
		{"a rule without a row", listFile, listWith("AS-05"), []string{at("security-rules-are-all-listed", 0)}},
		{"a rule with two rows", listFile, listWith("AS-05", kept, kept), []string{at("security-rules-are-all-listed", lineAS01+5)}},
		{"a row that asks nothing", listFile, listWith("AS-05", "| AS-05 |  | kept | `TestCodeFlow` |"), []string{at("security-rules-are-all-listed", lineAS01+4)}},
		{"an id that is none", listFile, listWith("AS-05", strings.Replace(kept, "AS-05", "AS-5", 1)), []string{at("security-rules-are-all-listed", 0)}},

		{"a test of another name", listFile, listWith("AS-05", kept), nil},
		{"kept without a test", listFile, listWith("AS-05", "| AS-05 | It asks. | kept | – |"), []string{at("security-rules-have-a-state", lineAS01+4)}},
		{"a test of no feature", listFile, listWith("AS-05", strings.Replace(kept, "kept", "no such feature: any", 1)), []string{at("security-rules-have-a-state", lineAS01+4)}},
		{"a test where there is none", listFile, listWith("AS-05", strings.Replace(kept, "kept", "partly: no test", 1)), []string{at("security-rules-have-a-state", lineAS01+4)}},
		{"a state that does not say what is missing", listFile, listWith("AS-05", strings.Replace(kept, "kept", "partly:", 1)), []string{at("security-rules-have-a-state", lineAS01+4)}},
		{"a state that is none", listFile, listWith("AS-05", strings.Replace(kept, "kept", "fine", 1)), []string{at("security-rules-have-a-state", lineAS01+4)}},

		{"a test that does not exist", listFile, listWith("AS-05", "| AS-05 | It asks. | kept | `TestCodeFlow`, `TestGone` |"), []string{at("security-rules-name-their-tests", lineAS01+4)}},
		{"a test of another package", listFile, listWith("AS-05", "| AS-05 | It asks. | kept | `TestEM03Auth` |"), []string{at("security-rules-name-their-tests", lineAS01+4)}},
		{"a test that is not in its row", tests, soundTests + "\nfunc TestAS01Again() {}\n", []string{"security-rules-name-their-tests " + tests + ":11"}},
		{"a test that is in one of its rows", tests, soundTests + "\nfunc TestCodeFlowToo() {}\n\nfunc TestAS02_EM03_Too() {}\n", []string{
			"security-rules-name-their-tests " + tests + ":13", "security-rules-name-their-tests " + tests + ":13",
		}},
		{"a test of a rule without a row", tests, soundTests + "\nfunc TestEC25EC26() {}\n", []string{
			"security-rules-name-their-tests " + tests + ":11", "security-rules-name-their-tests " + tests + ":11",
		}},
		{"what only looks like a test of a rule", tests, soundTests + "\nfunc TestRS256() {}\n\nfunc TestCodeAS09() {}\n\nfunc Testimony() {}\n\ntype x int\n\nfunc (x) TestAS09() {}\n", nil},
		{"a test that is gone", "provider/mail/smtp_test.go", "package mail_test\n", []string{at("security-rules-name-their-tests", lineEM03)}},

		{"a fault without a row", listFile, listWith("25"), []string{at("faults-of-fosite-have-a-rule", 0)}},
		{"a fault with two rows", listFile, listWith("25", "| 24 | It fails. | We guard. | AS-01 |"), []string{
			at("faults-of-fosite-have-a-rule", 0), at("faults-of-fosite-have-a-rule", 0),
		}},
		{"a fault of no rule", listFile, listWith("25", "| 25 | It fails. | We guard. | AS-01, AS-99 |"), []string{at("faults-of-fosite-have-a-rule", lineEM03+3+25)}},
	}
}

func TestMissingSecurityList(t *testing.T) {
	contents := sound()
	delete(contents, listFile)
	if diff := cmp.Diff([]string{"security-rules-are-all-listed " + listFile + ":0"}, faults(t, contents)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// TestUpdateSecurityRules changes tests, and expects rows to follow.
func TestUpdateSecurityRules(t *testing.T) {
	updated := func(contents map[string]string) string {
		t.Helper()
		m, err := archtest.Load(files(contents))
		if err != nil {
			t.Fatal(err)
		}
		return m.UpdateSecurityRules()
	}
	contents := sound()
	if diff := cmp.Diff(soundList(), updated(contents)); diff != "" {
		t.Errorf("a sound list is changed (-was +is):\n%s", diff)
	}

	contents["provider/rules_test.go"] = `package provider_test

func TestAS01_Paths() {}
func TestAS03_Port()  {}
func TestAS04_New()   {}
func TestAS05_New()   {}
func TestEM01_New()   {}
func TestEM02_EM05()  {}
func TestEC05_New()   {}
func TestCodeFlow()   {}
`
	got := updated(contents)
	for _, row := range []string{
		"| AS-01 | It asks. | kept | `TestAS01_Paths` |", // the fuzz target is gone
		"| AS-02 | It asks. | kept | – |",
		"| AS-03 | It asks. | partly: nobody looks at the port | `TestAS03_Port` |",
		"| AS-04 | It asks. | kept | `TestAS04_New` |",
		"| AS-05 | It asks. | kept | `TestAS05_New` |",
		"\n| EM-01 |  | kept | `TestEM01_New` |\n| EM-02 |  | kept | `TestEM02_EM05` |\n| EM-03 | It asks. | kept | `provider/mail.TestEM03Auth` |\n| EM-05 |  | kept | `TestEM02_EM05` |\n\n",
	} {
		if !strings.Contains(got, row) {
			t.Errorf("no %s in\n%s", row, got)
		}
	}
	if strings.Contains(got, "EC-05") {
		t.Error("a rule was put into a table of others")
	}
	contents[listFile] = got
	want := []string{
		"security-rules-are-all-listed " + listFile, "security-rules-are-all-listed " + listFile, "security-rules-are-all-listed " + listFile, // nobody says what they ask
		"security-rules-have-a-state " + listFile,                  // AS-02
		"security-rules-name-their-tests provider/rules_test.go:9", // EC-05
	}
	var left []string
	for _, fault := range faults(t, contents) {
		rule, _, _ := strings.Cut(fault, listFile)
		if rule != fault {
			fault = rule + listFile
		}
		left = append(left, fault)
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("what is left for somebody to say (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, updated(contents)); diff != "" {
		t.Errorf("a second update changes more (-was +is):\n%s", diff)
	}
}
