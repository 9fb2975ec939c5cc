// Package providertest is an issuer in a test: a whole provider on a database in a
// temporary directory, with a mailbox for its mails, tokens and signed-in browsers
// in one line each.
//
//	issuer := providertest.New(t)
//	api := notes.Handler(issuer.Verifier())
//	r := httptest.NewRequest("GET", "/notes", nil)
//	r.Header.Set("Authorization", "Bearer "+issuer.Token(t, providertest.User("ann@example.com"), "notes:read"))
//	api.ServeHTTP(httptest.NewRecorder(), r)
//
// Its invariant: nothing is pretended. Tokens and sessions come out of the
// provider's own endpoints and pages, for people who sign in with a mailed code, so
// what a test sees is what production answers.
//
// [New] needs no network: requests reach the provider, and the apps that a test
// mounts, through [Issuer.Client]. So it also works in a bubble of testing/synctest,
// where time is the test's: make everything inside the bubble. [Serve] is the same
// behind a listener, for other processes and real browsers.
//
// It is for tests only. Programs that ship do not import it.
package providertest
