package oauthcore

import (
	"errors"
	"net/http"

	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/storage"
)

// Outage is the answer when a part that is needed does not answer. It is never
// dressed up as something the client did wrong.
func Outage(err error) *oauth.Error {
	return oauth.NewError(oauth.CodeTemporarilyUnavailable, "The server cannot answer right now; try again in a few seconds.").WithCause(err)
}

// fromFosite translates fosite's error into one that RFC 6749 and OpenID Connect
// register.
func fromFosite(err error) *oauth.Error {
	rfc := (*fosite.RFC6749Error)(nil)
	if !errors.As(err, &rfc) {
		return oauth.NewError(oauth.CodeServerError, "The request could not be completed.").WithCause(err)
	}
	code, description := rfc.ErrorField, rfc.HintField
	switch code {
	case oauth.CodeInvalidRequest, oauth.CodeInvalidClient, oauth.CodeInvalidGrant, oauth.CodeInvalidScope,
		oauth.CodeUnauthorizedClient, oauth.CodeUnsupportedGrantType, oauth.CodeUnsupportedResponseType,
		oauth.CodeLoginRequired, oauth.CodeConsentRequired, oauth.CodeInteractionRequired, oauth.CodeAccessDenied:
	case "invalid_state", "insufficient_entropy":
		code = oauth.CodeInvalidRequest
	case "scope_not_granted", "token_inactive", "token_expired", "not_found", "request_unauthorized":
		code = oauth.CodeInvalidGrant
	default:
		code, description = oauth.CodeServerError, "The request could not be completed."
	}
	if description == "" && code == oauth.CodeInvalidGrant {
		description = "The grant is unknown, expired, used or revoked; start again."
	}
	e := oauth.NewError(code, description).WithCause(err)
	if code == oauth.CodeAccessDenied {
		return e.WithStatus(http.StatusBadRequest)
	}
	return e
}

// outage reports whether what fosite wrapped is a part of ours that did not
// answer.
func outage(err error) bool { return errors.Is(err, storage.ErrUnavailable) }
