package oauth

import (
	"net/http"
	"strings"
)

// The registered error codes in use, by the specification that defines them.
const (
	// RFC 6749 sections 4.1.2.1 and 5.2.
	CodeInvalidRequest          = "invalid_request"
	CodeInvalidClient           = "invalid_client"
	CodeInvalidGrant            = "invalid_grant"
	CodeInvalidScope            = "invalid_scope"
	CodeUnauthorizedClient      = "unauthorized_client"
	CodeUnsupportedGrantType    = "unsupported_grant_type"
	CodeUnsupportedResponseType = "unsupported_response_type"
	CodeAccessDenied            = "access_denied"
	CodeServerError             = "server_error"
	CodeTemporarilyUnavailable  = "temporarily_unavailable"

	// RFC 6750 section 3.1.
	CodeInvalidToken      = "invalid_token"
	CodeInsufficientScope = "insufficient_scope"

	// RFC 7009 section 2.2.1.
	CodeUnsupportedTokenType = "unsupported_token_type"

	// OpenID Connect Core section 3.1.2.6.
	CodeInteractionRequired      = "interaction_required"
	CodeLoginRequired            = "login_required"
	CodeAccountSelectionRequired = "account_selection_required"
	CodeConsentRequired          = "consent_required"
	CodeInvalidRequestURI        = "invalid_request_uri"
	CodeInvalidRequestObject     = "invalid_request_object"
	CodeRequestNotSupported      = "request_not_supported"
	CodeRequestURINotSupported   = "request_uri_not_supported"
	CodeRegistrationNotSupported = "registration_not_supported"

	// RFC 8628 section 3.5.
	CodeSlowDown = "slow_down"

	// RFC 8707 section 2.
	CodeInvalidTarget = "invalid_target"

	// RFC 9449 sections 5 and 8.
	CodeInvalidDPoPProof = "invalid_dpop_proof"
	CodeUseDPoPNonce     = "use_dpop_nonce"

	// RFC 9470 section 3.
	CodeInsufficientUserAuthentication = "insufficient_user_authentication"
)

// An Error is what a client is told, with what it is not told in Err. Marshalled
// as JSON it is the error response of RFC 6749 section 5.2; Status and Err do
// not leave the process that way.
//
// An Error is a value that happens to travel by pointer: its methods return
// changed copies, and nobody changes one after it was made.
type Error struct {
	// Code is a registered error code.
	Code string `json:"error"`
	// Description is for the client's developer, in the characters that
	// [SafeDescription] leaves.
	Description string `json:"error_description,omitempty"`
	// Status is the HTTP status of the answer.
	Status int `json:"-"`
	// Err is the cause, for the log. It may be nil.
	Err error `json:"-"`
}

// NewError returns an Error with the status that belongs to the code and the
// description made safe.
func NewError(code, description string) *Error {
	return &Error{Code: code, Description: SafeDescription(description), Status: statusOf(code)}
}

// Error returns code, description and cause in one line. It is for logs, not
// for clients.
func (e *Error) Error() string {
	s := e.Code
	if e.Description != "" {
		s += ": " + e.Description
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithDescription returns a copy that tells the client something else. The
// description is made safe.
func (e *Error) WithDescription(description string) *Error {
	c := *e
	c.Description = SafeDescription(description)
	return &c
}

// WithStatus returns a copy that is answered with another HTTP status.
func (e *Error) WithStatus(status int) *Error {
	c := *e
	c.Status = status
	return &c
}

// WithCause returns a copy that carries err for the log.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// SafeDescription returns s in the characters that RFC 6749 section 5.2 and RFC
// 6750 section 3 allow in error_description (%x20-21 / %x23-5B / %x5D-7E), so
// that it can stand in a quoted header value: a double quote becomes a single
// one, a backslash a slash, a control character a space, and each character
// outside ASCII a question mark.
func SafeDescription(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r < ' ' || r == 0x7f:
			return ' '
		case r > '~':
			return '?'
		}
		return r
	}, s)
}

func statusOf(code string) int {
	switch code {
	case CodeInvalidClient, CodeInvalidToken, CodeInsufficientUserAuthentication:
		return http.StatusUnauthorized
	case CodeInsufficientScope, CodeAccessDenied:
		return http.StatusForbidden
	case CodeServerError:
		return http.StatusInternalServerError
	case CodeTemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}
