package provider_test

import (
	"testing"
)

func TestCodeFlow(t *testing.T) {
	s := start(t, options{})
	tokens := s.tokens("ann@example.com")
	info := s.userinfo(tokens["access_token"].(string))
	if info.status != 200 || info.json(t)["email"] != "ann@example.com" {
		t.Fatalf("userinfo: %d %s", info.status, info.body)
	}
	again := s.refresh(tokens["refresh_token"].(string))
	if again.status != 200 {
		t.Fatalf("refresh: %d %s", again.status, again.body)
	}
}
