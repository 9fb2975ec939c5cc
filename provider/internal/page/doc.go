// Package page renders every page a person sees.
//
// Its invariant: whatever data goes in, the HTML that comes out has the elements
// and attributes of its template and no others, and it never leaves without its
// security headers. Data from strangers (client names, addresses, hidden values)
// becomes text, cut to a fair length and without characters that draw over their
// neighbours; addresses that a browser may follow are checked before they reach
// a header or a link.
//
// A handler fills one of the page types ([SignIn], [Code], [Consent], [FormPost],
// [SignedIn], [Logout], [LoggedOut], [Error] and others) and hands it to
// [Renderer.Render]. The page is rendered into memory first: an error of Render means
// that nothing was written.
//
// Pages are plain HTML with one stylesheet inside, allowed by its hash. One of them
// has a script, allowed by its hash too, and works without it. Nothing is loaded from
// elsewhere, and every text comes from the message catalogue. Forgery tokens are not
// made here: they are among the hidden fields that the handler passes.
package page
