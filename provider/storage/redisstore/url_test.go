package redisstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/redisstore"
)

func TestURL(t *testing.T) {
	for _, url := range []string{
		"redis://localhost",
		"redis://localhost/",
		"redis://localhost:6379/0",
		"redis://:secret@10.0.0.1:6379/15",
		"redis://user:se%40cr%2Fet@redis.example",
		"redis://[2001:db8::1]:6379",
		"redis://[2001:db8::1]",
		"rediss://redis.example?prefix=id:&wait=2",
		"redis+cluster://a,b:7000,c",
		"rediss+cluster://user:secret@a:7000/?prefix=x",
		"redis+sentinel://:secret@a,b:26380/mymaster",
		"rediss+sentinel://a/mymaster/3?sentinel_username=u&sentinel_password=secret",
	} {
		if err := (redisstore.Config{URL: url}).Check(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Each is refused with a sentence that says what would be right and shows nothing of
// what may be a password.
func TestURLRefused(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.pem")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, says := range map[string]string{
		"":                                            "begins with",
		"hunter2":                                     "begins with",
		"http://:hunter2@localhost":                   "begins with",
		"redis:localhost":                             "begins with",
		"redis+unix://:hunter2@localhost":             "begins with",
		"redis+://localhost":                          "begins with",
		"redis://":                                    "host",
		"redis://:hunter2@":                           "host",
		"redis://:hunter2@:6379":                      "host",
		"redis://:hunter2@localhost:":                 "host",
		"redis://:hunter2@localhost:0":                "host",
		"redis://:hunter2@localhost:x":                "host",
		"redis://:hunter2@localhost:99999":            "host",
		"redis://2001:db8::1":                         "host",
		"redis://:hunter2@a,b":                        "several hosts",
		"redis+cluster://a,,b":                        "host",
		"redis://:hunter2/@localhost":                 "%2F",
		"redis://:hunter2?@localhost":                 "%3F",
		"redis://:hunter2#@localhost":                 "%23",
		"redis://:hun ter2@localhost":                 "%20",
		"redis://:hunter2@x@localhost":                "%40",
		"redis://:hunter2%zz@localhost":               "%25",
		"redis://hunter2@localhost":                   "no password",
		"redis://localhost/hunter2":                   "database",
		"redis://localhost/-1":                        "database",
		"redis://localhost/1/2":                       "database",
		"redis+cluster://a/1":                         "only database 0",
		"redis+sentinel://a":                          "master",
		"redis+sentinel://a/":                         "master",
		"redis://a?hunter2=1":                         "not known",
		"redis://a?max_retries=3":                     "not known",
		"redis://a?maxretries=3":                      "maxretries",
		"redis://a?prefix":                            "prefix",
		"redis://a?prefix=":                           "prefix",
		"redis://a?prefix=%":                          "prefix",
		"redis://a?prefix={hunter2}":                  "braces",
		"redis://a?prefix=%20hunter2":                 "spaces",
		"redis://a?prefix=%C3%A4":                     "ASCII",
		"redis://a?prefix=" + strings.Repeat("x", 65): "64",
		"redis://a?prefix=a&prefix=b":                 "twice",
		"redis://a?wait=-1":                           "replicas",
		"redis://a?wait=101":                          "replicas",
		"redis://a?wait=hunter2":                      "replicas",
		"redis://a?ca_file=/x":                        "rediss",
		"redis://a?sentinel_password=hunter2":         "redis+sentinel",
		"redis+sentinel://a/m?sentinel_username=x":    "sentinel_password",
		"rediss://a?ca_file=/nowhere/at/all.pem":      "ca_file",
		"rediss://a?ca_file=" + text:                  "PEM",
	} {
		err := redisstore.Config{URL: url}.Check()
		if !errors.Is(err, storage.ErrUnfit) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want ErrUnfit and %q", url, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error shows what may be a password: %v", url, err)
		}
		if s, opened := redisstore.Open(t.Context(), redisstore.Config{URL: url}); opened == nil {
			s.Close()
			t.Errorf("%q was opened", url)
		} else if strings.Contains(opened.Error(), "hunter2") {
			t.Errorf("%q: the error shows what may be a password: %v", url, opened)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, url := range []string{
		"redis://user:hunter2@localhost:6379/1?prefix=a", "redis+cluster://:hunter2@a,b", "rediss+sentinel://x:hunter2@[::1]/m/2?wait=1",
		"redis://:hunter2/@x", "redis://:hunter2@a@b", "hunter2",
	} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		err := redisstore.Config{URL: url}.Check()
		// A word of the error's own is no leak, and a parameter is named on purpose.
		if err != nil && strings.Contains(url, ":hunter2") && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	})
}
