package cloudbase

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/web"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// A fault is an error of the wire contract: what the SDK decides by (code, number)
// and a text of the catalogue for people. Its values are copied, never changed.
type fault struct {
	code   string
	number int // the SDK's classes are chosen by it first
	status int // no client looks at it; logs and proxies do
	text   string
	args   map[string]string
	retry  time.Duration // 0 for not to be said
	cause  error
}

func (f *fault) Error() string {
	if f.cause != nil {
		return f.code + " (" + f.text + "): " + f.cause.Error()
	}
	return f.code + " (" + f.text + ")"
}

func (f *fault) Unwrap() error { return f.cause }

// because is the fault with the private cause.
func (f fault) because(err error) *fault {
	f.cause = err
	return &f
}

// with is the fault with an argument of its text.
func (f fault) with(name, value string) *fault {
	f.args = map[string]string{name: value}
	return &f
}

// The numbers with a meaning to the SDK are gRPC's, and its own above 4000. Those
// from 4100 on are ours and mean nothing to it.
const (
	numberInvalidArgument    = 3
	numberPermissionDenied   = 7
	numberResourceExhausted  = 8
	numberFailedPrecondition = 9
	numberUnimplemented      = 12
	numberInternal           = 13
	numberUnavailable        = 14
	numberUnauthenticated    = 16
	numberCaptcha            = 4002
	numberUnauthorizedClient = 4022
	numberPassword           = 4100
	numberPasswordNotSet     = 4101
	numberInvalidGrant       = 4102
	numberUserBlocked        = 4103
)

func invalid(text string) *fault {
	return &fault{code: "invalid_argument", number: numberInvalidArgument, status: http.StatusBadRequest, text: text}
}

func precondition(text string) *fault {
	return &fault{code: "failed_precondition", number: numberFailedPrecondition, status: http.StatusBadRequest, text: text}
}

func errCode() *fault { return invalid("api.verification") }

func errToken() *fault { return invalid("api.verification_token") }

// errCredentials is the one answer to a wrong password, an account without one, and
// no account.
func errCredentials() *fault {
	return &fault{code: "invalid_password", number: numberPassword, status: http.StatusBadRequest, text: "api.credentials"}
}

func errPasswordNotSet() *fault {
	return &fault{code: "password_not_set", number: numberPasswordNotSet, status: http.StatusBadRequest, text: "api.password_not_set"}
}

func errBlocked() *fault {
	return &fault{code: "user_blocked", number: numberUserBlocked, status: http.StatusForbidden, text: "api.user_blocked"}
}

// errUnauthenticated makes the SDK forget the login, so it is for tokens that are
// dead and for nothing else.
func errUnauthenticated() *fault {
	return &fault{code: "unauthenticated", number: numberUnauthenticated, status: http.StatusUnauthorized, text: "api.unauthenticated"}
}

func errRefresh() *fault {
	return &fault{code: oauth.CodeInvalidGrant, number: numberInvalidGrant, status: http.StatusBadRequest, text: "api.refresh"}
}

func errDenied(text string) *fault {
	return &fault{code: "permission_denied", number: numberPermissionDenied, status: http.StatusForbidden, text: text}
}

func errClient(text string) *fault {
	return &fault{code: oauth.CodeUnauthorizedClient, number: numberUnauthorizedClient, status: http.StatusBadRequest, text: text}
}

func errUnimplemented() *fault {
	return &fault{code: "unimplemented", number: numberUnimplemented, status: http.StatusNotFound, text: "api.unimplemented"}
}

func errMethod() *fault {
	return &fault{code: "unimplemented", number: numberUnimplemented, status: http.StatusMethodNotAllowed, text: "api.method"}
}

// errTooMany makes the SDK wait as long.
func errTooMany(wait time.Duration) *fault {
	return &fault{code: "resource_exhausted", number: numberResourceExhausted, status: http.StatusTooManyRequests, text: "api.too_many", retry: wait}
}

func errMissing(field string) *fault { return invalid("api.missing").with("field", field) }

func errUnavailable(cause error) *fault {
	return &fault{code: "unavailable", number: numberUnavailable, status: http.StatusServiceUnavailable, text: "api.unavailable", retry: web.OutagePause, cause: cause}
}

// faultOf says what a caller is told of an error. What no handler has named is ours.
func faultOf(err error) *fault {
	var named *fault
	switch {
	case errors.As(err, &named):
		return named
	case errors.Is(err, password.ErrChanged):
		return errDenied("api.sudo").because(err)
	case errors.Is(err, password.ErrBusy):
		f := errUnavailable(err)
		f.text, f.retry = "api.busy", 2*time.Second
		return f
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrConflict), errors.Is(err, users.ErrConflict),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errUnavailable(err)
	}
	return &fault{code: "internal", number: numberInternal, status: http.StatusInternalServerError, text: "api.internal", cause: err}
}
