package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

const (
	maxMetadataBytes = 1 << 20
	fetchTimeout     = 10 * time.Second
)

// Metadata is what an authorization server says about itself (RFC 8414, OpenID
// Connect Discovery), as far as this module uses it.
type Metadata struct {
	// Issuer is the server's name, exactly as in its tokens.
	Issuer string `json:"issuer"`
	// JWKSURI is where its public keys are. Empty when it has none to show.
	JWKSURI string `json:"jwks_uri,omitempty"`

	// The endpoints. One that is no https URL (or http on a
	// loopback host, of an http issuer) is left empty, as one that is missing: it
	// must not be used, and whoever needs only the keys is not to suffer from it.
	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string `json:"token_endpoint,omitempty"`
	UserInfoEndpoint      string `json:"userinfo_endpoint,omitempty"`
	RevocationEndpoint    string `json:"revocation_endpoint,omitempty"`
	EndSessionEndpoint    string `json:"end_session_endpoint,omitempty"`
	// IntrospectionEndpoint is where services ask about tokens.
	IntrospectionEndpoint string `json:"introspection_endpoint,omitempty"`

	// TokenAuthMethods are the ways in which clients may authenticate themselves at
	// the token endpoint. Empty means client_secret_basic (RFC 8414 section 2).
	TokenAuthMethods []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	// ResponseIssuer says that every authorization response names the issuer (RFC
	// 9207), so that one without it is not the issuer's.
	ResponseIssuer bool `json:"authorization_response_iss_parameter_supported,omitempty"`
}

// FetchMetadata reads the metadata of issuer, which is an https URL or an http
// one on a loopback host. It asks for the OpenID Connect document first and for
// that of RFC 8414 when there is none to be had. The document has to name
// exactly this issuer, or anybody who can answer for one URL could speak for
// another server.
//
// No redirect is followed, at most 1 MiB is read, and it takes at most 10 s
// unless ctx has a deadline of its own. A nil client means one with
// [http.DefaultTransport]. The error has no sentinel: it means that there is no
// trustworthy document at the moment.
func FetchMetadata(ctx context.Context, client *http.Client, issuer string) (Metadata, error) {
	u, err := parseIssuer(issuer)
	if err != nil {
		return Metadata{}, fmt.Errorf("read metadata: the issuer is %w", err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
	}
	client = guardedClient(client)

	// OpenID Connect Discovery section 4 puts the name behind the issuer's path,
	// RFC 8414 section 3.1 in front of it.
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	m, err := readMetadata(ctx, client, origin+path+"/.well-known/openid-configuration", issuer)
	if err == nil {
		return m, nil
	}
	m, err2 := readMetadata(ctx, client, origin+"/.well-known/oauth-authorization-server"+path, issuer)
	if err2 != nil {
		return Metadata{}, fmt.Errorf("read metadata: %w", errors.Join(err, err2))
	}
	return m, nil
}

func readMetadata(ctx context.Context, client *http.Client, address, issuer string) (Metadata, error) {
	body, _, err := get(ctx, client, address, maxMetadataBytes)
	if err != nil {
		return Metadata{}, err
	}
	var m Metadata
	if !utf8.Valid(body) || json.Unmarshal(body, &m) != nil {
		return Metadata{}, fmt.Errorf("%s: not a metadata document", address)
	}
	if m.Issuer != issuer {
		return Metadata{}, fmt.Errorf("%s: the document is about another issuer", address)
	}
	if m.JWKSURI != "" {
		keys, err := parseEndpoint(m.JWKSURI, false)
		if err != nil {
			return Metadata{}, fmt.Errorf("%s: jwks_uri is %w", address, err)
		}
		if keys.Scheme == "http" && strings.HasPrefix(address, "https:") {
			return Metadata{}, fmt.Errorf("%s: jwks_uri is http, from an https issuer", address)
		}
	}
	for _, endpoint := range []*string{&m.AuthorizationEndpoint, &m.TokenEndpoint, &m.UserInfoEndpoint, &m.RevocationEndpoint, &m.EndSessionEndpoint, &m.IntrospectionEndpoint} {
		u, err := parseEndpoint(*endpoint, false)
		if err != nil || u.Scheme == "http" && strings.HasPrefix(address, "https:") {
			*endpoint = ""
		}
	}
	return m, nil
}

// parseIssuer accepts the URLs that name an issuer (RFC 8414 section 2).
func parseIssuer(raw string) (*url.URL, error) {
	u, err := parseEndpoint(raw, false)
	if err == nil && (u.RawQuery != "" || u.ForceQuery) {
		err = errors.New("a URL with a query")
	}
	return u, err
}

// parseEndpoint accepts the URLs that keys and metadata may be read from: https,
// or http where no network lies between or anyHTTP says so, and nothing in them
// that is a secret or never reaches the server.
func parseEndpoint(raw string, anyHTTP bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	switch {
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("not an absolute URL")
	case u.User != nil || u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, errors.New("a URL with a user or a fragment")
	case u.Scheme == "https", u.Scheme == "http" && (anyHTTP || isLoopback(u.Hostname())):
		return u, nil
	}
	return nil, errors.New("neither https nor http on a loopback host")
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// guardedClient returns a copy of client that follows no redirect: what we ask
// for has one address, and a redirect is how a request ends up in a place that
// nobody configured. It carries no cookies either.
func guardedClient(client *http.Client) *http.Client {
	guarded := new(http.Client)
	if client != nil {
		*guarded = *client
	}
	guarded.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	guarded.Jar = nil
	return guarded
}

// get reads a document of at most limit bytes. Only status 200 is an answer.
func get(ctx context.Context, client *http.Client, address string, limit int64) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s: status %d", address, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", address, err)
	}
	if int64(len(body)) > limit {
		return nil, nil, fmt.Errorf("%s: more than %d bytes", address, limit)
	}
	return body, resp.Header, nil
}
