package config_test

import (
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

// faultOf validates c and returns the message about path, "" when there is none.
func faultOf(c config.Config, path string) string {
	faults, _ := c.WithDefaults().Validate().(config.Faults)
	for _, f := range faults {
		if f.Path == path {
			return f.Message
		}
	}
	return ""
}

func TestIssuer(t *testing.T) {
	for _, test := range []struct{ issuer, why string }{
		{"https://id.example.com", ""},
		{"https://id.example.com:8443", ""},
		{"https://id.example.com/a/b-c_d.e~f", ""},
		{"https://xn--bcher-kva.example", ""},
		{"https://192.0.2.1", ""},
		{"https://[2001:db8::1]:8443", ""},
		{"http://localhost", ""},
		{"http://localhost:8080/tenant", ""},
		{"http://127.8.9.10:1", ""},
		{"http://[::1]:8080", ""},

		{"id.example.com", "no absolute URI"},
		{"//id.example.com", "no absolute URI"},
		{"https:id.example.com", "no host"},
		{"https://", "no host"},
		{"https://:443", "no host"},
		{"ftp://id.example.com", "use https"},
		{"HTTPS://id.example.com", "lower case"},
		{"https://ID.example.com", "lower case"},
		{"https://id.example.com/", "at its end"},
		{"https://id.example.com/a/", "at its end"},
		{"https://id.example.com//a", "its path"},
		{"https://id.example.com/a//b", "its path"},
		{"https://id.example.com/./a", "its path"},
		{"https://id.example.com/a/..", "its path"},
		{"https://id.example.com/.well-known", "its path"},
		{"https://id.example.com/%61", "its path"},
		{"https://id.example.com/a;b", "its path"},
		{"https://id.example.com?a=b", "query"},
		{"https://id.example.com?", "query"},
		{"https://id.example.com#a", "fragment"},
		{"https://id.example.com#", "fragment"},
		{"https://user@id.example.com", "user name"},
		{"https://user:hunter2@id.example.com", "user name"},
		{"https://@id.example.com", "user name"},
		{"https://id.example.com:443", "leave out the port"},
		{"http://localhost:80", "leave out the port"},
		{"https://id.example.com:", "without a port"},
		{"https://id.example.com:0", "a port is"},
		{"https://id.example.com:65536", "a port is"},
		{"https://id.example.com:08443", "a port is"},
		{"https://id.example.com.", "no domain name"},
		{"https://id..example.com", "no domain name"},
		{"https://-id.example.com", "no domain name"},
		{"https://*.example.com", "no domain name"},
		{"https://" + strings.Repeat("a", 64) + ".example.com", "no domain name"},
		{"https://" + strings.Repeat("a.", 127) + "example", "253"},
		{"https://b\u00fccher.example", "no URI can"},
		{"https://b%C3%BCcher.example", "no domain name"},
		{"https://[::1", "no absolute URI"},
		{"https://[fe80::1%25eth0]", "zone"},
		{"https://[2001:DB8::1]", "write its host as 2001:db8::1"},
		{"https://[v1.a]", "no absolute URI"},
		{"https://[192.0.2.1]", "no absolute URI"},
		{"https://[a.example]", "no absolute URI"},
		{"http://id.example.com", "use https"},
		{"http://localhost.example.com", "use https"},
		{"http://app.localhost", "use https"},
		{"http://LOCALHOST", "use https"},
		{"http://128.0.0.1", "use https"},
		{"http://0.0.0.0", "use https"},
		{"http://127.1", "use https"},
		{"http://[::ffff:127.0.0.1]", "use https"},
		{"http://[::]", "use https"},
		{"https://127.1", "looks like an IP address"},
		{"https://0x7f000001", "looks like an IP address"},
		{"https://2130706433", "looks like an IP address"},
		{"https://id.example.com\\@evil.example", "no URI can"},
		{"https://id.example.com\r\nX: y", "no URI can"},
		{" https://id.example.com", "no URI can"},
		{"https://id.example.com/" + strings.Repeat("a", 2000), "2000"},
	} {
		got := faultOf(config.Config{Issuer: test.issuer}, "issuer")
		checkReason(t, test.issuer, got, test.why)
	}
}

func TestAS04RedirectURIs(t *testing.T) {
	for _, test := range []struct{ uri, why string }{
		{"https://app.example.com/callback", ""},
		{"https://app.example.com", ""},
		{"https://app.example.com/callback?from=id&x=%20", ""},
		{"https://app.example.com:8443/a/../b", ""},
		{"https://App.example.com/Callback", ""},
		{"https://192.0.2.1/callback", ""},
		{"https://intranet/callback", ""},
		{"https://localhost/callback", ""},
		{"http://localhost:3000/callback", ""},
		{"http://127.0.0.1/callback", ""},
		{"http://[::1]/callback", ""},
		{"com.example.app:/callback", ""},
		{"com.example.app:///callback", ""},
		{"com.example.app://callback", ""},

		{"", "no absolute URI"},
		{"/callback", "no absolute URI"},
		{"app.example.com/callback", "no absolute URI"},
		{"//app.example.com/callback", "no absolute URI"},
		{"https:/callback", "no host"},
		{"https:///callback", "no host"},
		{"https:callback", "no host"},
		{"http://app.example.com/callback", "use https"},
		{"http://192.168.1.1/callback", "use https"},
		{"http://localhost.evil.example/callback", "use https"},
		{"http://127.0.0.1.evil.example/callback", "use https"},
		{"http://localhost@evil.example/", "user name"},
		{"http://2130706433/", "use https"},
		{"https://0x7f.1/", "looks like an IP address"},
		{"https://app.example.com/#", "fragment"},
		{"https://app.example.com/callback#a", "fragment"},
		{"https://user:hunter2@app.example.com/", "user name"},
		{"https://*.example.com/callback", "wildcard"},
		{"https://app.example.com/*", "wildcard"},
		{"com.example.*:/callback", "no absolute URI"},
		{"https://app.example.com\\.evil.example/", "no URI can"},
		{"https://app.example.com/\r\nLocation: https://evil.example", "no URI can"},
		{"https://app.example.com/\x00", "no URI can"},
		{"https://app.example.com/a b", "no URI can"},
		{"https://app.example.com/%zz", "no absolute URI"},
		{"https://b\u00fccher.example/", "no URI can"},
		{"https://app.example.com/\u00fc", "no URI can"},
		{"https://app.example.com\u3002evil.example/", "no URI can"},
		{"HTTPS://app.example.com/", "lower case"},
		{"Com.Example.App:/callback", "lower case"},
		{"javascript:alert(1)", "a scheme of your own"},
		{"JavaScript:alert(1)", "lower case"},
		{"javascript://app.example.com/%0aalert(1)", "a scheme of your own"},
		{"data:text/html,x", "a scheme of your own"},
		{"vbscript:x", "a scheme of your own"},
		{"file:///etc/passwd", "a scheme of your own"},
		{"blob:https://app.example.com/1", "a scheme of your own"},
		{"about:blank", "a scheme of your own"},
		{"myapp:/callback", "a scheme of your own"},
		{"ftp://app.example.com/", "a scheme of your own"},
		{"urn:ietf:wg:oauth:2.0:oob", "a scheme of your own"},
		{".app:/callback", "no absolute URI"},
		{"com.:/callback", "a scheme of your own"},
		{"com..app:/callback", "a scheme of your own"},
		{"com.example+app:/callback", "a scheme of your own"},
		{"com.example.app:callback", "write a /"},
		{"com.example.app:", "write a /"},
		{"com.example.app:?a=b", "write a /"},
	} {
		c := config.Config{Clients: []config.Client{{
			ID: "a", RedirectURIs: []string{"https://a.example/", test.uri}, PostLogoutRedirectURIs: []string{test.uri},
		}}}
		checkReason(t, test.uri, faultOf(c, "clients[0].redirect_uris[1]"), test.why)
		checkReason(t, test.uri, faultOf(c, "clients[0].post_logout_redirect_uris[0]"), test.why)
	}
}

func TestOrigins(t *testing.T) {
	for _, test := range []struct{ origin, why string }{
		{"https://app.example.com", ""},
		{"https://app.example.com:8443", ""},
		{"https://[2001:db8::1]", ""},
		{"http://localhost:3000", ""},
		{"http://127.0.0.1:3000", ""},

		{"*", "wildcard"},
		{"https://*.example.com", "wildcard"},
		{"null", "no absolute URI"},
		{"app.example.com", "no absolute URI"},
		{"http://app.example.com", "use https"},
		{"file://", "use https"},
		{"https://app.example.com/", "nothing more"},
		{"https://app.example.com/a", "nothing more"},
		{"https://app.example.com?", "nothing more"},
		{"https://app.example.com#", "fragment"},
		{"https://u@app.example.com", "user name"},
		{"https://App.example.com", "lower case"},
		{"https://app.example.com:443", "leave out the port"},
		{"http://localhost:80", "leave out the port"},
		{"https://[2001:db8:0::1]", "write its host as"},
	} {
		c := config.Config{Clients: []config.Client{{ID: "a", Origins: []string{test.origin}}}}
		checkReason(t, test.origin, faultOf(c, "clients[0].origins[0]"), test.why)
	}
}

func checkReason(t *testing.T, value, got, why string) {
	t.Helper()
	if (got == "") != (why == "") || !strings.Contains(got, why) {
		t.Errorf("%q: got %q, want %q", value, got, why)
	}
	if strings.Contains(got, "hunter2") {
		t.Errorf("%q: the password is in the fault", value)
	}
}
