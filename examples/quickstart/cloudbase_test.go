package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestCloudBase: the env id of the tour is good for what @cloudbase/js-sdk sends from
// the app's origin, and for no other's.
func TestCloudBase(t *testing.T) {
	q := start(t)
	if !strings.Contains(q.tour, envID) {
		t.Errorf("the tour does not name %s:\n%s", envID, q.tour)
	}
	const email = "ann@example.com"
	var begun, verified struct {
		ID    string `json:"verification_id"`
		Token string `json:"verification_token"`
	}
	q.sdk("verification", map[string]string{"email": email}).json(t, &begun)
	q.sdk("verification/verify", map[string]string{"verification_id": begun.ID, "verification_code": q.code(email, 1)}).json(t, &verified)
	var got tokens
	if answer := q.sdk("signup", map[string]string{"email": email, "verification_token": verified.Token}); answer.status != http.StatusOK {
		t.Fatalf("signup: %d %s", answer.status, answer.body)
	} else {
		answer.json(t, &got)
	}
	if notes := q.get(q.app+"/api/notes", got.Access); notes.status != http.StatusOK {
		t.Errorf("API: %d %s", notes.status, notes.body)
	}

	for origin, want := range map[string]string{q.app: q.app, "http://elsewhere.example": ""} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, q.issuer+"/auth/v1/verification?client_id="+envID, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", http.MethodPost)
		req.Header.Set("Access-Control-Request-Headers", "x-device-id,x-request-id,x-sdk-version")
		resp, err := http.DefaultClient.Do(req)
		if got := read(t, resp, err).header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: allowed is %q", origin, got)
		}
	}
}

// sdk sends a call as the SDK does: JSON that is called text, with the env id in the
// query.
func (q *quickstart) sdk(path string, body any) answer {
	q.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		q.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(q.t.Context(), http.MethodPost, q.issuer+"/auth/v1/"+path+"?client_id="+envID, strings.NewReader(string(raw)))
	if err != nil {
		q.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	req.Header.Set("Origin", q.app)
	resp, err := http.DefaultClient.Do(req)
	return read(q.t, resp, err)
}
