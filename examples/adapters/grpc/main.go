// Grpc protects the methods of a gRPC server. A guard judges an HTTP request, and a
// gRPC call is one: POST, with the method's full name as path.
package main

import (
	"context"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/lettergate/lettergate/middleware"
)

func main() {
	verifier, err := middleware.ForIssuer("http://localhost:8080", "http://localhost:8083")
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(verifier, middleware.Config{})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "localhost:8083")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(newServer(guard).Serve(listener))
}

func newServer(guard *middleware.Guard) *grpc.Server {
	methods := rules{
		grpc_health_v1.Health_Check_FullMethodName: guard.Admit(middleware.Route{Scopes: []string{"health:read"}}),
		grpc_health_v1.Health_Watch_FullMethodName: guard.Admit(middleware.Route{Scopes: []string{"health:watch"}}),
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(methods.unary), grpc.StreamInterceptor(methods.stream))
	grpc_health_v1.RegisterHealthServer(server, service{})
	return server
}

// service answers every caller whose name it knows.
type service struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (service) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	token, ok := middleware.Claims(ctx)
	if !ok || token.Subject() == "" {
		return nil, status.Error(codes.Internal, "no claims")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func (service) Watch(_ *grpc_health_v1.HealthCheckRequest, stream grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	if _, ok := middleware.Claims(stream.Context()); !ok {
		return status.Error(codes.Internal, "no claims")
	}
	return stream.Send(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING})
}
