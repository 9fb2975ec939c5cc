package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

func TestMethods(t *testing.T) {
	verifier, token := newIssuer(t)
	guard, err := middleware.New(verifier, middleware.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server, listener := newServer(guard), bufconn.Listen(1<<16)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return listener.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	client := grpc_health_v1.NewHealthClient(connection)

	for _, c := range []struct {
		name, authorization string
		check, watch        codes.Code
	}{
		{"no token", "", codes.Unauthenticated, codes.Unauthenticated},
		{"bad token", "Bearer x", codes.Unauthenticated, codes.Unauthenticated},
		{"malformed", "Bearer a b", codes.InvalidArgument, codes.InvalidArgument},
		{"one scope", "Bearer " + token("health:read"), codes.OK, codes.PermissionDenied},
		{"the other", "Bearer " + token("health:watch"), codes.PermissionDenied, codes.OK},
	} {
		ctx := t.Context()
		if c.authorization != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", c.authorization)
		}
		var header metadata.MD
		_, err := client.Check(ctx, new(grpc_health_v1.HealthCheckRequest), grpc.Header(&header))
		if status.Code(err) != c.check || (err != nil) != (len(header["www-authenticate"]) == 1) {
			t.Errorf("%s: check: %v, %v", c.name, err, header)
		}
		stream, err := client.Watch(ctx, new(grpc_health_v1.HealthCheckRequest))
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != c.watch {
			t.Errorf("%s: watch: %v", c.name, err)
		}
		if _, err := client.List(ctx, new(grpc_health_v1.HealthListRequest)); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: a method without a rule: %v", c.name, err)
		}
	}
}

// newIssuer returns a verifier and what issues the tokens that it accepts.
func newIssuer(t *testing.T) (oauth.Verifier, func(scope string) string) {
	t.Helper()
	const issuer, audience = "https://id.example", "http://localhost:8083"
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := oauth.NewStaticKeys(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k1"}}})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuer, Audiences: []string{audience}}, keys)
	if err != nil {
		t.Fatal(err)
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "k1")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, options)
	if err != nil {
		t.Fatal(err)
	}
	return verifier, func(scope string) string {
		claims, err := json.Marshal(map[string]any{
			"iss": issuer, "aud": audience, "sub": "user-1", "client_id": "app", "jti": "1", "scope": scope,
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}
