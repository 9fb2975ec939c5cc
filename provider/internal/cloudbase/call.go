package cloudbase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/web"
	"github.com/lettergate/lettergate/provider/users"
)

// A caller is who may make a call.
type caller int

const (
	person  caller = iota // somebody who is signed in: Bearer
	app                   // an app: client_id in the query
	anybody               // a person, or else an app
	nobody                // the handler asks itself
)

// A call is one request with what the contract says about every one.
type call struct {
	*http.Request
	client *oauthcore.Client
	user   users.User             // of a person
	claims oauthcore.AccessClaims // of a person
	signed bool                   // a person made the call
	lang   string
	device string // x-device-id, "" without
	once   []byte // what names the request, nil without
	hidden bool   // nobody is told which addresses have an account

	after func() // what is done once the answer is written, nil for nothing
}

// serve makes a handler of a function from a body to an answer. Calls without a body
// have an empty Req.
func serve[Req, Resp any](a *API, who caller, answer func(*call, Req) (Resp, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, lang: a.lang(r)}
		var req Req
		body, err := readBody(w, r, &req)
		if err == nil {
			err = a.identify(c, who, body)
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		resp, err := answer(c, req)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		a.Inbound.WriteJSON(w, r, http.StatusOK, resp)
		if c.after != nil {
			c.after()
		}
	}
}

// void is the answer of calls that have none: the SDK takes an empty body for a
// server that cannot be reached.
type void struct{}

func (a *API) lang(r *http.Request) string { return a.Messages.Match(r.Header.Get("Accept-Language")) }

// readBody reads a JSON object whatever the Content-Type is: the SDK says text/plain.
func readBody(w http.ResponseWriter, r *http.Request, into any) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		w.Header().Set("Connection", "close")
		f := invalid("api.too_large").with("kib", strconv.Itoa(MaxBody>>10))
		f.status = http.StatusRequestEntityTooLarge
		return nil, f
	}
	if err != nil {
		return nil, invalid("api.json").because(err)
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, nil
	}
	if body[0] != '{' {
		return nil, invalid("api.json").because(errors.New("not an object"))
	}
	if err := json.Unmarshal(body, into); err != nil {
		// The decoder's own text may quote what was sent.
		return nil, invalid("api.json").because(fmt.Errorf("%T", err))
	}
	return body, nil
}

// identify finds out who makes the call, and whether from a place that is registered.
func (a *API) identify(c *call, who caller, body []byte) error {
	var err error
	switch who {
	case nobody:
		return nil
	case person:
		err = a.identifyPerson(c)
	case app:
		c.client, err = a.clientOf(c.URL.Query()["client_id"], body)
	case anybody:
		err = a.identifyAnybody(c, body)
	}
	if err != nil {
		return err
	}
	if !a.mayCall(c) {
		return errDenied("api.origin")
	}
	c.hidden = c.client.HideIsUser
	c.name(body)
	return nil
}

// name notes what names the device and the request. What could be guessed, because it
// is not as the SDK makes it, names nothing.
func (c *call) name(body []byte) {
	if id := c.Header.Get("X-Device-Id"); len(id) >= 16 && len(id) <= 48 {
		c.device = id
	}
	if id := c.Header.Get("X-Request-Id"); len(id) >= 16 && len(id) <= 64 {
		sum := sha256.Sum256(body)
		c.once = []byte(strings.Join([]string{c.client.ID, c.Method, c.URL.Path, id, c.device, c.user.Subject, string(sum[:])}, "\x00"))
	}
}

// mayCall reports whether the page that makes the call, if it is one, belongs to the
// app. Without this any page could have mails sent in the app's name: a browser sends
// text/plain to anybody, and says only where it comes from.
func (a *API) mayCall(c *call) bool {
	origin := c.Header.Get("Origin")
	return origin == "" || a.Inbound.Own(origin) || slices.Contains(c.client.Origins, origin)
}

// clientOf returns the client that is named in the query or, failing that, the body.
func (a *API) clientOf(named []string, body []byte) (*oauthcore.Client, error) {
	var in struct {
		ClientID text `json:"client_id"`
	}
	if len(body) > 0 && json.Unmarshal(body, &in) == nil && in.ClientID.value != "" {
		named = append(slices.Clone(named), in.ClientID.value)
	}
	named = slices.Compact(named)
	switch {
	case len(named) == 0:
		return nil, errClient("api.client_missing")
	case len(named) > 1:
		return nil, errClient("api.client")
	}
	client, ok := a.Core.Clients().Lookup(named[0])
	if !ok || !client.CloudBase {
		return nil, errClient("api.client")
	}
	return client, nil
}

// bearer returns the token of the Authorization header, "" for none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func (a *API) identifyPerson(c *call) error {
	user, claims, client, err := a.whoHolds(c.Context(), bearer(c.Request))
	if err != nil {
		return err
	}
	c.user, c.claims, c.client, c.signed = user, claims, client, true
	return nil
}

// whoHolds returns whom an access token is about, or errUnauthenticated.
func (a *API) whoHolds(ctx context.Context, token string) (users.User, oauthcore.AccessClaims, *oauthcore.Client, error) {
	none := users.User{}
	claims, err := a.Core.ReadAccessToken(token)
	if err != nil {
		return none, claims, nil, errUnauthenticated().because(err)
	}
	// What another app or service was given opens nothing here.
	client, ok := a.Core.Clients().Lookup(claims.ClientID)
	if !ok || !client.CloudBase || claims.GrantID == "" {
		return none, claims, nil, errUnauthenticated()
	}
	user, live, err := a.Core.Live(ctx, claims)
	if err != nil {
		return none, claims, nil, err
	}
	if !live {
		return none, claims, nil, errUnauthenticated()
	}
	return user, claims, client, nil
}

// identifyAnybody takes a Bearer token of ours for a person. Any other one, such as
// the publishable key that an app may be set up with, says nothing: the call is the
// app's, and without a client_id that of the only one there is.
func (a *API) identifyAnybody(c *call, body []byte) error {
	token := bearer(c.Request)
	if token == "" {
		var err error
		c.client, err = a.clientOf(c.URL.Query()["client_id"], body)
		return err
	}
	if a.Core.Ours(token) {
		return a.identifyPerson(c)
	}
	named := c.URL.Query()["client_id"]
	if len(named) == 0 && len(a.clients) == 1 {
		c.client = a.clients[0]
		return nil
	}
	var err error
	c.client, err = a.clientOf(named, body)
	return err
}

// answerFault is the shape of every error.
type answerFault struct {
	Error       string `json:"error"`
	Code        int    `json:"error_code"`
	Description string `json:"error_description"`
	RetryAfter  int    `json:"retry_after,omitempty"` // seconds
}

// fail writes what a caller is told of err, and logs it once if it is ours.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := faultOf(err)
	a.Inbound.Log(r, f.status, f)
	if f.retry > 0 {
		web.RetryAfter(w.Header(), f.retry)
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	a.Inbound.WriteJSON(w, r, f.status, answerFault{
		Error: f.code, Code: f.number, Description: a.Messages.Text(a.lang(r), f.text, f.args), RetryAfter: int(seconds(f.retry)),
	})
}

// NotFound answers a path of the API that there is not, or is not because no client is
// registered for it: the SDK takes anything but its JSON for a success.
func (a *API) NotFound(w http.ResponseWriter, r *http.Request) {
	if a.Needed() {
		a.fail(w, r, errUnimplemented())
		return
	}
	unknown := errClient("api.client")
	unknown.status = http.StatusNotFound
	a.fail(w, r, unknown)
}

// Refuse answers in place of a handler: a method that is not allowed, a server that
// is starting, a panic.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, status int, cause error) {
	switch status {
	case http.StatusMethodNotAllowed:
		a.fail(w, r, errMethod())
	case http.StatusServiceUnavailable:
		a.fail(w, r, errUnavailable(cause))
	default:
		a.fail(w, r, cause)
	}
}
