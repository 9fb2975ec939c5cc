package provider_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/provider/storage/storetest"
	"github.com/lettergate/lettergate/provider/users"
)

// random is what differs between any two answers: ids, sealed values, MACs.
var random = regexp.MustCompile(`[A-Za-z0-9_-]{22,}`)

// shape is an answer without what is random: its status, headers and body, with
// the length of what was taken out.
func (a answer) shape(address string) string {
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range a.header {
			if name != "Date" && !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintln(&b, name, a.header[name])
	}
	fmt.Fprintln(&b, strings.ReplaceAll(a.body, address, "ADDRESS"))
	return random.ReplaceAllStringFunc(b.String(), func(s string) string { return fmt.Sprint("<", len(s), ">") })
}

// people are addresses of equal length, and what each is.
var people = map[string]string{
	"known@example.com": "known", "mixed@example.com": "unknown", "disab@example.com": "disabled", "delet@example.com": "deleted",
}

// populate makes the accounts that people says there are.
func populate(s *server) {
	s.t.Helper()
	for address, kind := range people {
		if kind == "unknown" {
			continue
		}
		s.tokens(address)
		switch kind {
		case "disabled":
			s.change(address, func(u *users.User) { u.Disabled = true })
		case "deleted":
			if err := s.directory().Delete(s.t.Context(), s.account(address).Subject); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// alike fails the test unless something looks the same for all people.
func alike(t *testing.T, what string, count *storetest.Counter, ask func(address string) string) {
	t.Helper()
	seen := map[string]string{}
	for address, kind := range people {
		count.Reset()
		shape := ask(address)
		shape += fmt.Sprintln("store calls", count.Calls(), count.Calls("Get"), count.Calls("Put"), count.Calls("Add"), count.Calls("Delete"), count.Calls("List"))
		seen[kind] = shape
	}
	for kind, shape := range seen {
		if shape != seen["unknown"] {
			t.Errorf("%s: an unknown address gets\n%s\na %s one\n%s", what, seen["unknown"], kind, shape)
		}
	}
}

func TestEC23_EC25_PagesTellNothing(t *testing.T) {
	s, count := counted(t, options{})
	populate(s)
	pages := map[string]answer{}
	alike(t, "POST /login/email", count, func(address string) string {
		b := s.browser()
		action, fields := formOf(t, b.get(authorizePath(webID, "login_hint", address)).body, "email")
		fields.Set("email", address)
		f := form{action: action, values: fields}
		a := f.send(b, fields)
		shape := a.shape(address)
		mail, err := s.inbox.WaitFor(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		code := regexpCode.FindStringSubmatch(mail.Text)[1]
		text := strings.ReplaceAll(mail.Subject+mail.Text, code, "CODE")
		// What follows: the page for the code, a wrong code, and one more mail.
		page := b.get(a.header.Get("Location"))
		pages[address] = page
		wrong := b.submit(page, "code", "code", started{code: code}.wrong().code)
		again := b.submit(wrong, "resend")
		if _, err := s.inbox.WaitFor(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		return shape + text + page.shape(address) + wrong.shape(address) + again.shape(address)
	})
	if len(pages) != len(people) {
		t.Fatalf("%d pages", len(pages))
	}
}

func TestEC23_EC25_GrantTellsNothing(t *testing.T) {
	s, count := counted(t, options{})
	populate(s)
	for _, client := range []string{nativeID, nosignupID} {
		alike(t, "/oauth2/verification for "+client, count, func(address string) string {
			a := s.post("/oauth2/verification", "client_id", client, "email", address, "scope", "openid")
			v := started{a.json(t)["verification_id"].(string), s.code(address)}
			shape := a.shape(address)
			for range 2 {
				shape += s.redeem(v.wrong(), "client_id", client).shape(address)
			}
			return shape
		})
	}
}

// The limit of wrong tries is met at the same try (EC-26).
func TestEC26_LimitsTellNothing(t *testing.T) {
	s, count := counted(t, options{})
	populate(s)
	alike(t, "twelve wrong tries", count, func(address string) string {
		shape := ""
		for range 4 {
			v := s.begin(address)
			for range 3 {
				shape += s.redeem(v.wrong()).shape(address)
			}
		}
		v := s.begin(address)
		return shape + s.redeem(v).shape(address)
	})
}

// An address without an account, and one whose account is gone, get one mail each:
// nobody learns from the mailbox's silence.
func TestEC25_OneMailEach(t *testing.T) {
	s := start(t, options{})
	populate(s)
	for address := range people {
		before := len(s.inbox.Messages())
		if a := s.post("/oauth2/verification", "client_id", nosignupID, "email", address); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		s.code(address)
		if n := len(s.inbox.Messages()) - before; n != 1 {
			t.Errorf("%s gets %d mails", address, n)
		}
	}
}
