// Gin protects the routes of a gin engine, through an adapter of a few lines.
package main

import (
	"log"
	"net/http"

	"github.com/gin-gonic/gin"

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
	engine := gin.New()
	path, metadata := guard.Metadata()
	engine.Any(path, gin.WrapH(metadata))
	engine.GET("/notes/:name", protect(guard.Require("notes:read")), readNote)
	return engine, nil
}

// protect makes one of gin's middlewares out of one of net/http's. The handlers behind
// it run only when the guard lets the request through.
func protect(guarded func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		guarded(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed, c.Request = true, r
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

func readNote(c *gin.Context) {
	token, _ := middleware.Claims(c.Request.Context())
	c.String(http.StatusOK, "%s of %s", c.Param("name"), token.Subject())
}
