package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/MicahParks/keyfunc/v3"
	jwtmiddleware "github.com/auth0/go-jwt-middleware/v3"
	"github.com/auth0/go-jwt-middleware/v3/jwks"
	"github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// A peer is one way to protect a handler. It returns the protected one, with the
// issuer's keys at hand.
type peer struct {
	name    string
	protect func(i *issuer, next http.Handler) (http.Handler, error)
}

// Nobody else remembers tokens, so that to them each is new; both of ours are compared
// with that.
var peers = []peer{
	{"lettergate, first sight", ours(1)},
	{"lettergate, repeated", ours(0)},
	{"golang-jwt + keyfunc", golangJWT},
	{"MCP go-sdk + golang-jwt + keyfunc", mcp},
	{"coreos/go-oidc", coreos},
	{"lestrrat-go/jwx", jwx},
	{"auth0/go-jwt-middleware", auth0},
}

// prepare returns what is measured: a request with one of the tokens in turn, through
// a handler that does nothing.
func (p peer) prepare(i *issuer) (func(n int), error) {
	h, err := p.protect(i, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		return nil, err
	}
	nobody := new(status)
	do := func(n int) {
		h.ServeHTTP(nobody, i.requests[n%tokenCount])
		if *nobody != 0 {
			panic(fmt.Sprintf("answered %d", *nobody))
		}
	}
	for n := range tokenCount {
		do(n)
	}
	return do, nil
}

// A status is a response writer that remembers when it was not 200.
type status int

func (s *status) Header() http.Header         { return make(http.Header) }
func (s *status) Write(b []byte) (int, error) { return len(b), nil }
func (s *status) WriteHeader(code int)        { *s = status(code) }

// ours has room for cache tokens; 0 is the default. With the least, 8, every one of
// the tokens that take turns is new each time.
func ours(cache int) func(*issuer, http.Handler) (http.Handler, error) {
	return func(i *issuer, next http.Handler) (http.Handler, error) {
		keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: i.url})
		if err != nil {
			return nil, err
		}
		v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: i.url, Audiences: []string{audience}, CacheTokens: cache}, keys)
		if err != nil {
			return nil, err
		}
		return middleware.Require(v)(next), nil
	}
}

// claimsKey is where those keep the claims that have no middleware of their own.
type claimsKey struct{}

// bearer is that middleware.
func bearer(next http.Handler, verify func(ctx context.Context, token string) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		claims, err := verify(r.Context(), token)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
	})
}

// golangClaims are the claims of the issuer's tokens as golang-jwt likes them best.
type golangClaims struct {
	jwt.RegisteredClaims
	Scope    string `json:"scope"`
	ClientID string `json:"client_id"`
}

func golangVerify(i *issuer) (func(token string) (*golangClaims, error), error) {
	keys, err := keyfunc.NewDefaultCtx(context.Background(), []string{i.jwks})
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{i.alg}), jwt.WithIssuer(i.url), jwt.WithAudience(audience), jwt.WithExpirationRequired())
	return func(token string) (*golangClaims, error) {
		claims := new(golangClaims)
		_, err := parser.ParseWithClaims(token, claims, keys.Keyfunc)
		return claims, err
	}, nil
}

func golangJWT(i *issuer, next http.Handler) (http.Handler, error) {
	verify, err := golangVerify(i)
	return bearer(next, func(_ context.Context, token string) (any, error) { return verify(token) }), err
}

func mcp(i *issuer, next http.Handler) (http.Handler, error) {
	verify, err := golangVerify(i)
	return auth.RequireBearerToken(func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		claims, err := verify(token)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
		}
		return &auth.TokenInfo{Scopes: strings.Fields(claims.Scope), Expiration: claims.ExpiresAt.Time, UserID: claims.Subject}, nil
	}, nil)(next), err
}

func coreos(i *issuer, next http.Handler) (http.Handler, error) {
	provider, err := oidc.NewProvider(context.Background(), i.url)
	if err != nil {
		return nil, err
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: audience})
	return bearer(next, func(ctx context.Context, token string) (any, error) {
		t, err := verifier.Verify(ctx, token)
		if err != nil {
			return nil, err
		}
		var claims struct {
			Scope    string `json:"scope"`
			ClientID string `json:"client_id"`
		}
		return &claims, t.Claims(&claims)
	}), nil
}

func jwx(i *issuer, next http.Handler) (http.Handler, error) {
	ctx := context.Background()
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		return nil, err
	}
	if err := cache.Register(ctx, i.jwks); err != nil {
		return nil, err
	}
	set, err := cache.CachedSet(i.jwks)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := jwxjwt.ParseRequest(r, jwxjwt.WithKeySet(set, jws.WithInferAlgorithmFromKey(true)), jwxjwt.WithIssuer(i.url), jwxjwt.WithAudience(audience))
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, t)))
	}), nil
}

// auth0Claims have the scope, by their documentation's example.
type auth0Claims struct {
	Scope string `json:"scope"`
}

func (*auth0Claims) Validate(context.Context) error { return nil }

func auth0(i *issuer, next http.Handler) (http.Handler, error) {
	issuerURL, err := url.Parse(i.url)
	if err != nil {
		return nil, err
	}
	keys, err := jwks.NewCachingProvider(jwks.WithIssuerURL(issuerURL))
	if err != nil {
		return nil, err
	}
	v, err := validator.New(validator.WithKeyFunc(keys.KeyFunc), validator.WithAlgorithm(validator.SignatureAlgorithm(i.alg)),
		validator.WithIssuer(i.url), validator.WithAudience(audience), validator.WithCustomClaims(func() *auth0Claims { return new(auth0Claims) }))
	if err != nil {
		return nil, err
	}
	m, err := jwtmiddleware.New(jwtmiddleware.WithValidator(v))
	if err != nil {
		return nil, err
	}
	return m.CheckJWT(next), nil
}
