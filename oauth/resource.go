package oauth

import (
	"errors"
	"fmt"
	"strings"
)

// ResourceMetadata is what a protected resource says about itself (RFC 9728 section
// 2). Fields that are empty are left out of the document.
type ResourceMetadata struct {
	// Resource is the URL that names the service, as its clients use it and as its
	// tokens have it in aud: https, or http on a loopback host, without query and
	// fragment.
	Resource string `json:"resource"`
	// AuthorizationServers are the issuers whose tokens it accepts, exactly.
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	// ScopesSupported are scopes that clients may ask for to use it.
	ScopesSupported []string `json:"scopes_supported,omitempty"`
	// BearerMethodsSupported is how a token may be sent: "header".
	BearerMethodsSupported []string `json:"bearer_methods_supported,omitempty"`
	// Name is for people, as in "Notes API".
	Name string `json:"resource_name,omitempty"`
	// Documentation is the URL of a page for developers.
	Documentation string `json:"resource_documentation,omitempty"`
	// CertificateBoundTokens says that tokens bound to a TLS certificate are
	// understood (RFC 8705).
	CertificateBoundTokens bool `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	// DPoPAlgorithms are those that a DPoP proof may be signed with.
	DPoPAlgorithms []string `json:"dpop_signing_alg_values_supported,omitempty"`
	// DPoPRequired says that every token has to be bound by DPoP.
	DPoPRequired bool `json:"dpop_bound_access_tokens_required,omitempty"`
}

// ResourceMetadataURL returns where the metadata of a resource is: the well-known
// name stands between the host and the path (RFC 9728 section 3.1). The error says
// what is wrong with the resource's name.
func ResourceMetadataURL(resource string) (string, error) {
	u, err := parseEndpoint(resource, false)
	if err != nil {
		return "", fmt.Errorf("the resource is %w", err)
	}
	if u.RawQuery != "" || u.ForceQuery {
		return "", errors.New("the resource is a URL with a query")
	}
	// The slash that ends a URL without a path is not one of the path.
	path := u.EscapedPath()
	if path == "/" {
		path = ""
	}
	if strings.ContainsAny(u.Host+path, "\"\\ {}") {
		return "", errors.New("the resource is a URL with a quote, a backslash, a space or a brace")
	}
	return u.Scheme + "://" + u.Host + "/.well-known/oauth-protected-resource" + path, nil
}
