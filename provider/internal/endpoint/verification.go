package endpoint

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/internal/web"
	"github.com/lettergate/lettergate/provider/mail"
)

type verificationResponse struct {
	ID        string `json:"verification_id"`
	ExpiresIn int64  `json:"expires_in"` // seconds
	Interval  int64  `json:"interval"`   // seconds before another code can be asked for
}

// Verification starts the email-captcha grant: it sends a code and answers with
// what the code has to be presented with. The answer is the same whether or not
// the address has an account.
func (e *Endpoints) Verification(w http.ResponseWriter, r *http.Request) {
	client, form, bad := e.authenticated(w, r)
	if bad != nil {
		e.Inbound.WriteError(w, r, bad)
		return
	}
	request, bad := e.verificationRequest(r, client, form)
	if bad != nil {
		e.Inbound.WriteError(w, r, bad)
		return
	}
	started, ticket, err := e.Verifications.Start(r.Context(), request)
	switch {
	case errors.Is(err, verification.ErrTooMany):
		web.RetryAfter(w.Header(), verification.SourceWindow)
		e.Inbound.WriteError(w, r, oauth.NewError(oauth.CodeSlowDown,
			"Too many codes were asked for from this network; wait as long as Retry-After says, in seconds.").WithStatus(http.StatusTooManyRequests).WithCause(err))
		return
	case errors.Is(err, verification.ErrRequest):
		e.Inbound.WriteError(w, r, oauth.NewError(oauth.CodeInvalidRequest,
			"The verification cannot be started like this; check the code_challenge.").WithCause(err))
		return
	case err != nil:
		e.Inbound.WriteError(w, r, oauthcore.Outage(err))
		return
	}
	e.Inbound.WriteJSON(w, r, http.StatusOK, verificationResponse{
		ID:        started.Handle,
		ExpiresIn: int64(started.ExpiresIn / time.Second),
		Interval:  int64(started.Interval / time.Second),
	})
	e.Outbox.Dispatch(ticket)
}

func (e *Endpoints) verificationRequest(r *http.Request, client *oauthcore.Client, form url.Values) (verification.Request, *oauth.Error) {
	none := verification.Request{}
	if !client.Allows(config.GrantEmailCaptcha) {
		return none, oauth.NewError(oauth.CodeUnauthorizedClient, "The client is not registered for the email-captcha grant.")
	}
	scopes, err := oauth.ParseScope(form.Get("scope"))
	if err != nil || !client.AllowsScopes(slices.Collect(scopes.All())) {
		return none, oauth.NewError(oauth.CodeInvalidScope, "The scope is malformed, or the client is not registered for one of the scopes.")
	}
	address, err := mail.ParseAddress(form.Get("email"))
	if err != nil {
		return none, oauth.NewError(oauth.CodeInvalidRequest, "The email is not an address that mail can be sent to, like name@example.com.").WithCause(err)
	}
	if form.Get("code_challenge") != "" && form.Get("code_challenge_method") != "S256" {
		return none, oauth.NewError(oauth.CodeInvalidRequest, "Send code_challenge_method=S256 with the code_challenge; no other method is supported.")
	}
	if form.Get("code_challenge") == "" && form.Get("code_challenge_method") != "" {
		return none, oauth.NewError(oauth.CodeInvalidRequest, "There is a code_challenge_method without a code_challenge.")
	}
	return verification.Request{
		ClientID:   client.ID,
		ClientName: client.DisplayName(),
		Email:      address,
		Purpose:    verification.SignIn,
		Scopes:     slices.Collect(scopes.All()),
		Challenge:  form.Get("code_challenge"),
		DeviceID:   form.Get("device_id"),
		Source:     e.Inbound.Source(r),
		Locale:     e.Messages.Match(form.Get("ui_locales"), r.Header.Get("Accept-Language")),
	}, nil
}
