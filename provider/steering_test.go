package provider_test

import (
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

// TestAS34_LinksAndCookies makes under another name what is hardest to take back: a mail
// with a link, and cookies.
func TestAS34_LinksAndCookies(t *testing.T) {
	for peer, proxies := range map[string][]string{
		"a stranger": nil,
		// A trusted proxy says where a request comes from, and nothing else.
		"a trusted proxy": {"127.0.0.0/8"},
	} {
		t.Run(peer, func(t *testing.T) {
			s := start(t, options{direct: true, config: func(c *config.Config) {
				published(c)
				c.TrustedProxies = proxies
			}})
			s.transport = evilHeaders{s.transport}
			s.app(envID).verification("ann@example.com", "email_redirect_to", appOrigin+"/")
			mail := s.waitMail("ann@example.com")
			if text := mail.Subject + mail.Text + mail.HTML + mail.MessageID; strings.Contains(text, "evil") || !strings.Contains(mail.Text, s.provider.Issuer()+"/login/link?v=") {
				t.Errorf("the mail says\n%s", text)
			}
			s.cookieAttributes(true)
			for _, path := range []string{"/oauth2/authorize", "/oauth2/token", "/oauth2/jwks", "/nowhere"} {
				if a := s.get(path); a.header.Get("Strict-Transport-Security") == "" {
					t.Errorf("%s: X-Forwarded-Proto took Strict-Transport-Security away", path)
				}
			}
			code := s.freshCode()
			if claims := claimsOf(t, s.exchange(code).json(t)["access_token"]); claims["iss"] != s.provider.Issuer() {
				t.Errorf("iss %v in the token", claims["iss"])
			}
		})
	}
}
