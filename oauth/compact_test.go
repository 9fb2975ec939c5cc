package oauth

import (
	"strings"
	"testing"
)

func TestSplitToken(t *testing.T) {
	p, err := splitToken("aGVhZGVy.cGF5bG9hZA.c2lnbmF0dXJl")
	if err != nil || string(p.header) != "header" || string(p.payload) != "payload" || string(p.signature) != "signature" || string(p.signed) != "aGVhZGVy.cGF5bG9hZA" {
		t.Errorf("%q, %v", p, err)
	}
	for _, token := range []string{
		"", "YQ.YQ", "YQ.YQ.YQ.YQ", "YQ.YR.YQ", "YQ.YQ.YQ=", "YQ.Y\nQ.YQ", "\rYQ.YQ.YQ", "YQ.YQ.+/", "YQ.YQ." + strings.Repeat("YQ", 9000),
	} {
		if _, err := splitToken(token); err == nil {
			t.Errorf("%q was taken apart", token)
		}
	}
}
