package oauth_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/lettergate/lettergate/oauth"
)

func TestErrorIsCopiedNotChanged(t *testing.T) {
	cause := errors.New("row 7 is locked")
	first := oauth.NewError(oauth.CodeInvalidGrant, "The code is wrong.")
	second := first.WithCause(cause).WithDescription("The code has expired.").WithStatus(401)
	if first.Description != "The code is wrong." || first.Err != nil || first.Status != 400 {
		t.Errorf("the first error was changed: %+v", first)
	}
	if !errors.Is(second, cause) || second.Description != "The code has expired." || second.Status != 401 || second.Code != oauth.CodeInvalidGrant {
		t.Errorf("the second error is %+v", second)
	}
	if got, want := second.Error(), "invalid_grant: The code has expired.: row 7 is locked"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	body, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(body), `{"error":"invalid_grant","error_description":"The code has expired."}`; got != want {
		t.Errorf("JSON is %s, want %s: a client must not see more", got, want)
	}
}

func TestErrorStatus(t *testing.T) {
	for code, want := range map[string]int{
		oauth.CodeInvalidRequest: 400, oauth.CodeInvalidGrant: 400, oauth.CodeInvalidClient: 401, oauth.CodeInvalidToken: 401,
		oauth.CodeInsufficientScope: 403, oauth.CodeAccessDenied: 403, oauth.CodeServerError: 500, oauth.CodeTemporarilyUnavailable: 503,
	} {
		if got := oauth.NewError(code, "").Status; got != want {
			t.Errorf("%s has status %d, want %d", code, got, want)
		}
	}
}

func TestSafeDescription(t *testing.T) {
	for c := range 0x180 {
		for _, r := range oauth.SafeDescription(string(rune(c))) {
			// RFC 6749 section 5.2: %x20-21 / %x23-5B / %x5D-7E.
			if !(r >= 0x20 && r <= 0x21 || r >= 0x23 && r <= 0x5b || r >= 0x5d && r <= 0x7e) {
				t.Errorf("%#x became %#x", c, r)
			}
		}
	}
	if got, want := oauth.SafeDescription("a \"b\"\\c\r\nd é \xff"), "a 'b'/c  d ? ?"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := oauth.NewError("x", "\"").WithDescription("\n").Description; got != " " {
		t.Errorf("got %q", got)
	}
}
