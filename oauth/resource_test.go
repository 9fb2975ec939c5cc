package oauth_test

import (
	"testing"

	"github.com/lettergate/lettergate/oauth"
)

func TestRS27_ResourceMetadataURL(t *testing.T) {
	for resource, want := range map[string]string{
		"https://api.example":             "https://api.example/.well-known/oauth-protected-resource",
		"https://api.example/":            "https://api.example/.well-known/oauth-protected-resource",
		"https://api.example:8443":        "https://api.example:8443/.well-known/oauth-protected-resource",
		"https://api.example/notes":       "https://api.example/.well-known/oauth-protected-resource/notes",
		"https://api.example/notes/":      "https://api.example/.well-known/oauth-protected-resource/notes/",
		"https://api.example/a/b%20c":     "https://api.example/.well-known/oauth-protected-resource/a/b%20c",
		"http://localhost:8081/notes":     "http://localhost:8081/.well-known/oauth-protected-resource/notes",
		"":                                "",
		"api.example":                     "",
		"urn:notes":                       "",
		"http://api.example":              "",
		"https://api.example?a=b":         "",
		"https://api.example?":            "",
		"https://api.example#x":           "",
		"https://user:pw@api.example":     "",
		"https://api.example/{id}":        "https://api.example/.well-known/oauth-protected-resource/%7Bid%7D",
		`https://api.example/a"b`:         "https://api.example/.well-known/oauth-protected-resource/a%22b",
		"https://api.example/a\r\nX: y":   "",
		"https://api.example\"/.evil":     "",
		"https://api.example/notes?a#b":   "",
		"https://api.example//notes//":    "https://api.example/.well-known/oauth-protected-resource//notes//",
		"https://api.example/.well-known": "https://api.example/.well-known/oauth-protected-resource/.well-known",
	} {
		got, err := oauth.ResourceMetadataURL(resource)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", resource, got, err, want)
		}
	}
}
