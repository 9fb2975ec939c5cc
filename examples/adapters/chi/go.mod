module github.com/lettergate/lettergate/examples/adapters/chi

go 1.26.0

replace github.com/lettergate/lettergate => ../../..

require (
	github.com/go-chi/chi/v5 v5.5.0
	github.com/go-jose/go-jose/v4 v4.1.9
	github.com/lettergate/lettergate v0.0.0-00010101000000-000000000000
)
