package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// curl runs one of the printed commands in a shell, exactly as printed but for the
// placeholders, and decodes what it prints.
func (q *quickstart) curl(command string, v any, placeholders ...string) {
	q.t.Helper()
	command = strings.NewReplacer(placeholders...).Replace(command)
	if word := placeholder.FindString(command); word != "" {
		q.t.Fatalf("%s is still to be filled in: %s", word, command)
	}
	out, err := exec.CommandContext(q.t.Context(), "sh", "-c", command).Output()
	if err != nil {
		q.t.Fatalf("%s\n%v", command, err)
	}
	if err := json.Unmarshal(out, v); err != nil {
		q.t.Fatalf("%s\n%v\n%s", command, err, out)
	}
}

var (
	placeholder    = regexp.MustCompile(`\b[A-Z]+(_[A-Z]+|CODE)\b`)
	printedCommand = regexp.MustCompile(`(?m)^ *(curl .*)$`)
)

// TestTour does what the program says one can do, with the commands that it prints.
func TestTour(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatalf("the tour is made of curl commands: %v", err)
	}
	q := start(t)
	var commands []string
	for _, found := range printedCommand.FindAllStringSubmatch(q.tour, -1) {
		commands = append(commands, found[1])
	}
	if len(commands) != 5 {
		t.Fatalf("%d commands instead of verification, code, refresh, service and API:\n%s", len(commands), q.tour)
	}
	verification, code, refresh, service, api := commands[0], commands[1], commands[2], commands[3], commands[4]

	var begun struct {
		ID        string `json:"verification_id"`
		ExpiresIn int    `json:"expires_in"`
	}
	q.curl(verification, &begun)
	if begun.ID == "" || begun.ExpiresIn != 600 {
		t.Fatalf("verification: %+v", begun)
	}

	var first, second, own tokens
	q.curl(code, &first, "VERIFICATION_ID", begun.ID, "CODE", q.code("you@example.com", 1))
	check := func(name string, got tokens, wantScope string) {
		t.Helper()
		if got.Access == "" || !strings.EqualFold(got.Type, "bearer") || got.ExpiresIn != 600 || !sameWords(got.Scope, wantScope) {
			t.Errorf("%s: type %q, %d s, scope %q", name, got.Type, got.ExpiresIn, got.Scope)
		}
	}
	check("emailed code", first, "openid email offline_access notes:read")
	if first.ID == "" || first.Refresh == "" {
		t.Errorf("emailed code: ID token %d bytes, refresh token %d bytes", len(first.ID), len(first.Refresh))
	}

	q.curl(refresh, &second, "REFRESH_TOKEN", first.Refresh)
	check("refresh", second, "openid email offline_access notes:read")
	if second.Access == first.Access || second.Refresh == first.Refresh || second.Refresh == "" {
		t.Error("refresh: the tokens are the old ones")
	}

	q.curl(service, &own, "nothing", "to fill in")
	check("client credentials", own, "notes:read")
	if own.Refresh != "" || own.ID != "" {
		t.Error("client credentials: a service got what only people get")
	}

	for _, token := range []string{first.Access, second.Access, own.Access} {
		var got struct{ Notes []string }
		q.curl(api, &got, "ACCESS_TOKEN", token)
		if len(got.Notes) != 1 {
			t.Errorf("API: %q", got.Notes)
		}
	}
}

// sameWords says whether two lists of words differ in nothing but their order.
func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// TestAPI: the notes are whose the token is, and only for a good token with the
// scope.
func TestAPI(t *testing.T) {
	q := start(t)
	ann, bob := q.native("ann@example.com"), q.native("bob@example.com")
	notes := q.app + "/api/notes"

	if got := q.do(http.MethodPost, notes, ann, `{"text":"<b>milk</b>"}`); got.status != http.StatusCreated {
		t.Fatalf("add: %d %s", got.status, got.body)
	}
	for token, want := range map[string]string{ann: "<b>milk</b>", bob: "Welcome! This note comes from a protected API."} {
		var list struct{ Notes []string }
		q.get(notes, token).json(t, &list)
		if !slices.Equal(list.Notes, []string{want}) {
			t.Errorf("got %q, want %q", list.Notes, want)
		}
	}
	for name, body := range map[string]string{"nothing": "", "no text": "{}", "no JSON": "milk", "too much": `{"text":"` + strings.Repeat("x", 4096) + `"}`} {
		if got := q.do(http.MethodPost, notes, ann, body); got.status != http.StatusBadRequest {
			t.Errorf("add %s: %d %s", name, got.status, got.body)
		}
	}

	if got := q.get(notes, ""); got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a token: %d, challenge %q", got.status, got.header.Get("WWW-Authenticate"))
	}
	if got := q.get(notes, ann[:len(ann)-4]+"AAAA"); got.status != http.StatusUnauthorized {
		t.Errorf("with a forged token: %d", got.status)
	}
	if got := q.do(http.MethodPost, notes, q.service(), `{"text":"x"}`); got.status != http.StatusForbidden {
		t.Errorf("without the scope to write: %d %s", got.status, got.body)
	}
}

// TestMailbox: scripts read the mailbox as JSON, newest first.
func TestMailbox(t *testing.T) {
	q := start(t)
	if got := q.get(q.issuer+"/dev/mailbox/messages.json", ""); strings.TrimSpace(got.body) != "[]" {
		t.Errorf("an empty mailbox is %q", got.body)
	}
	for _, to := range []string{"ann@example.com", "bob@example.com"} {
		q.native(to)
	}
	mails := q.messages()
	if len(mails) != 2 || mails[0].To != "bob@example.com" || mails[1].To != "ann@example.com" ||
		mails[0].ReceivedAt.Before(mails[1].ReceivedAt) || mails[1].ReceivedAt.IsZero() {
		t.Errorf("not two mails, newest first: %+v", mails)
	}
	var fields []map[string]any
	q.get(q.issuer+"/dev/mailbox/messages.json", "").json(t, &fields)
	for _, mail := range fields {
		if got := slices.Sorted(maps.Keys(mail)); !slices.Equal(got, []string{"html", "received_at", "subject", "text", "to"}) {
			t.Errorf("fields %q", got)
		}
	}
	for _, mail := range mails {
		code := codeLine.FindStringSubmatch(mail.Text)
		if code == nil || !strings.Contains(mail.HTML, code[1]) || strings.Contains(mail.Subject, code[1]) || mail.Subject == "" {
			t.Errorf("the code is to be in text and HTML, not in the subject: %+v", mail)
		}
	}
	if page := q.get(q.issuer+"/dev/mailbox", ""); page.status != http.StatusOK || strings.Count(page.body, mails[0].Subject) < 2 {
		t.Errorf("the page does not list the mails: %d\n%s", page.status, page.body)
	}
}

// native signs somebody in as the tour does and returns the access token.
func (q *quickstart) native(email string) string {
	q.t.Helper()
	var begun struct {
		ID string `json:"verification_id"`
	}
	q.form("/oauth2/verification", "client_id", nativeID, "email", email, "scope", "openid email notes:read notes:write").json(q.t, &begun)
	var got tokens
	answer := q.form("/oauth2/token", "grant_type", "urn:lettergate:params:oauth:grant-type:email-captcha", "client_id", nativeID,
		"verification_id", begun.ID, "verification_code", q.code(email, 1))
	if answer.json(q.t, &got); got.Access == "" {
		q.t.Fatalf("sign in: %d %s", answer.status, answer.body)
	}
	return got.Access
}

// service returns an access token of the service itself.
func (q *quickstart) service() string {
	q.t.Helper()
	req, err := http.NewRequestWithContext(q.t.Context(), http.MethodPost, q.issuer+"/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		q.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(serviceID, serviceSecret)
	resp, err := http.DefaultClient.Do(req)
	var got tokens
	answer := read(q.t, resp, err)
	if answer.json(q.t, &got); got.Access == "" {
		q.t.Fatalf("client credentials: %d %s", answer.status, answer.body)
	}
	return got.Access
}
