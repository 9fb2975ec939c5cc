package provider

import (
	"encoding/json"
	"net/http"
	"testing/fstest"

	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/internal/page"
	"github.com/lettergate/lettergate/provider/internal/ratelimit"
)

// A Row is a row of the route table for tests that look from outside.
type Row struct {
	Path    string // below the origin
	Methods []string
	Limit   ratelimit.Class
	CORS    string // none, clients, cloudbase or any
	Public  bool   // answers may be kept
	Person  bool   // errors are pages
	App     bool   // errors are those of the CloudBase API
	Early   bool
	Body    int64
}

// Rows are the routes that p serves.
func Rows(p *Provider) []Row {
	var rows []Row
	for _, r := range p.table {
		rows = append(rows, Row{
			Path: r.path, Methods: methodsOf(r), Limit: r.limit, CORS: []string{"none", "none", "clients", "cloudbase", "any"}[r.cors],
			Public: r.cache == cachePublic, Person: r.person, App: r.app, Early: r.early, Body: r.body,
		})
	}
	return rows
}

// Rehandled serves the routes of p with handlers that are made of its own.
func Rehandled(p *Provider, change func(own http.HandlerFunc) http.HandlerFunc) http.Handler {
	var table []route
	for _, r := range p.table {
		changed := on{}
		for method, own := range r.methods {
			changed[method] = change(own)
		}
		r.methods = changed
		table = append(table, r)
	}
	return p.guard.router(table, func(route) bool { return true })
}

// BreakPages makes p unable to render a page of which a text is not kept, until restore
// is called. No request may be under way.
func BreakPages(p *Provider, texts map[string]string) (restore func(), err error) {
	data, err := json.Marshal(texts)
	if err != nil {
		return nil, err
	}
	catalogue, err := messages.Load(fstest.MapFS{"en.json": {Data: data}})
	if err != nil {
		return nil, err
	}
	broken, err := page.New(page.Config{Name: "Lettergate", Catalogue: catalogue})
	if err != nil {
		return nil, err
	}
	own := p.guard.people.Pages
	p.guard.people.Pages = broken
	return func() { p.guard.people.Pages = own }, nil
}
