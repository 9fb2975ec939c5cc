package oauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// isPlain says whether a header leaves open what the token is for. A type of any other
// name says that it is something else (logout+jwt, secevent+jwt, token-introspection+jwt).
func isPlain(header *members) bool {
	return !header.has("typ") || strings.EqualFold(header.text("typ"), "JWT")
}

// readPlain reads what issuers that do not follow RFC 9068 name otherwise or leave out.
func (t *AccessToken) readPlain(m *members) {
	if m.has("jti") {
		t.id = m.text("jti")
	}
	for _, name := range []string{"client_id", "azp", "cid", "appid"} {
		if !m.has(name) {
			continue
		}
		client := m.text(name)
		if t.clientID != "" && client != t.clientID {
			m.fail(name, "the client that the token names elsewhere")
		}
		t.clientID = client
	}
	if t.clientID == "" {
		m.fail("client_id", "there, nor azp, cid or appid")
	}
	if m.has("scp") && !m.has("scope") {
		t.scopes = m.scp()
	}
}

// scp returns the scopes as Entra writes them, in one string, or as Okta does, in a list.
func (m *members) scp() Scopes {
	var value string
	if strings.HasPrefix(m.raw("scp"), `"`) {
		value = m.text("scp")
	} else {
		value = strings.Join(m.texts("scp"), " ")
	}
	scopes, err := ParseScope(value)
	if err != nil {
		m.fail("scp", "a scope string or a list of scopes")
	}
	return scopes
}

// checkPlain refuses a token whose type leaves open what it is for unless its claims do
// not: RFC 9068 section 4 has no other check against ID tokens. What else an issuer signs
// for a client (ID tokens, signed userinfo and authorization responses, logout tokens)
// has that client in "aud"; so an access token has to name its client, and to be for
// somebody else. The rest is for tokens of issuers that see "azp" differently.
func checkPlain(m *members, t *AccessToken) error {
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash", "events", "token_introspection"} {
		if m.has(name) {
			return fmt.Errorf("typ is JWT, and %s belongs into another kind of token", name)
		}
	}
	if t.HasAudience(t.clientID) {
		return errors.New("typ is JWT, and aud names the client, as it does in ID tokens")
	}
	saysSo := m.has("scope") || m.has("scp")
	for name, kinds := range map[string][]string{"typ": {"Bearer", "DPoP"}, "token_use": {"access"}} { // Keycloak, Cognito
		if !m.has(name) {
			continue
		}
		if kind := m.text(name); m.err != nil || !slices.Contains(kinds, kind) {
			return fmt.Errorf("typ is JWT, and the claim %s is not that of an access token", name)
		} else if kind == "DPoP" && t.confirmation.JKT == "" {
			return errors.New("the claim typ is DPoP, and cnf does not name the key")
		}
		saysSo = true
	}
	if !saysSo {
		return errors.New("typ is JWT, and the token has neither a scope nor a claim that calls it an access token")
	}
	return nil
}
