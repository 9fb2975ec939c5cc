// Package interop tries the middleware on issuers that nobody here wrote.
//
// Its invariant: what stands before the handler here is what a service gets from
// [github.com/lettergate/lettergate/middleware], and every token comes from an issuer
// as it is published. The issuers have keys, clients and resources of the tests and are
// otherwise as they come:
//
//   - oidc-provider of npm, a process that the test starts and ends
//   - zitadel/oidc of the Go module proxy, its example server, in the process of the test
//
// It is a module of its own, so that the issuers do not end up in the go.sum of those who
// use the middleware. The tests that need Node.js have the build tag browser, like the
// other ones for which .ci/run gets it.
package interop
