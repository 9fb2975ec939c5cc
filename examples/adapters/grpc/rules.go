package main

import (
	"context"
	"net/http"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/lettergate/lettergate/middleware"
)

// rules say who may call which method. A method without a rule may be called by nobody.
type rules map[string]func(*http.Request) (*http.Request, *middleware.Refusal)

// admit returns the context for the handler of a call.
func (methods rules) admit(ctx context.Context, method string) (context.Context, error) {
	rule, ok := methods[method]
	if !ok {
		return nil, status.Error(codes.PermissionDenied, "nobody may call this method")
	}
	header := make(http.Header)
	sent, _ := metadata.FromIncomingContext(ctx)
	for _, value := range sent["authorization"] {
		header.Add("Authorization", value)
	}
	r := (&http.Request{Method: http.MethodPost, URL: &url.URL{Path: method}, Header: header}).WithContext(ctx)
	if from, ok := peer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
			r.TLS = &info.State
		}
	}
	r, refused := rule(r)
	if refused == nil {
		return r.Context(), nil
	}
	grpc.SetHeader(ctx, metadata.MD{"www-authenticate": refused.Challenges})
	code, ok := map[int]codes.Code{400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 503: codes.Unavailable}[refused.Status]
	if !ok {
		code = codes.Internal
	}
	return nil, status.Error(code, http.StatusText(refused.Status))
}

func (methods rules) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	ctx, err := methods.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handle(ctx, request)
}

func (methods rules) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx, err := methods.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return handle(server, admitted{stream, ctx})
}

// admitted is a stream whose context has the token's claims.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (a admitted) Context() context.Context { return a.ctx }
