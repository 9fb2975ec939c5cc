// Package provider is an OAuth 2.0 authorization server and OpenID Connect provider
// that signs people in with a code sent to their email address.
//
// [New] checks a configuration and wires everything together; it starts nothing,
// opens no store and no connection, and writes nothing; it reads the files that the
// configuration names. The [Provider] it returns is an
// http.Handler for one issuer. [Provider.Run] opens the store, owns every
// goroutine, and returns when they are gone; until it is ready, requests are
// answered 503.
//
//	p, err := provider.New(cfg, provider.Deps{})
//	go func() { failed <- p.Run(ctx) }()
//	http.ListenAndServe(cfg.Listen, p)
//
// A Provider whose issuer has a path is mounted at that path, without
// http.StripPrefix; [Provider.RootHandler] serves what specifications put at the
// root of the origin.
//
// DESIGN.md beside this file says how a request walks through the packages below
// and why they are cut so.
package provider
