// Echo protects the routes of an echo server: echo.WrapMiddleware is the adapter.
package main

import (
	"log"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

func main() {
	verifier, err := middleware.ForIssuer("http://localhost:8080", "http://localhost:8083")
	if err != nil {
		log.Fatal(err)
	}
	handler, err := routes(verifier)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8083", handler))
}

func routes(verifier oauth.Verifier) (http.Handler, error) {
	guard, err := middleware.New(verifier, middleware.Config{Metadata: oauth.ResourceMetadata{Resource: "http://localhost:8083"}})
	if err != nil {
		return nil, err
	}
	server := echo.New()
	path, metadata := guard.Metadata()
	server.Any(path, echo.WrapHandler(metadata))
	server.GET("/notes/:name", readNote, echo.WrapMiddleware(guard.Require("notes:read")))
	return server, nil
}

func readNote(c echo.Context) error {
	token, _ := middleware.Claims(c.Request().Context())
	return c.String(http.StatusOK, c.Param("name")+" of "+token.Subject())
}
