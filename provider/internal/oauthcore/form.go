package oauthcore

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/lettergate/lettergate/oauth"
)

// MaxForm is the most that a machine's form may weigh, in bytes, and MaxPage the
// most that a form of our own pages may: it may carry a sealed request.
const (
	MaxForm = 64 << 10
	MaxPage = 128 << 10
)

// maxRequest is the longest authorization or logout request. Inside a page or a
// verification it is JSON, up to twice as long, and sealed and base64 on top: one
// that we can show has to come back within MaxPage.
const maxRequest = 24 << 10

const maxParameters = 100

// repeatable are the parameters that a specification lets repeat (RFC 8707).
func repeatable(name string) bool { return name == "resource" }

// ReadForm reads the parameters of a machine's POST. Nothing of the body is read
// unless it is a form, and nothing is taken from the query (RFC 6749 section
// 2.3.1). A parameter without a value counts as absent (section 3.1).
func ReadForm(w http.ResponseWriter, r *http.Request) (url.Values, *oauth.Error) {
	if r.URL.RawQuery != "" {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "Send the parameters in the body, none in the URL.")
	}
	return readBody(w, r, MaxForm)
}

// ReadBody reads the parameters of a POST whose URL has a query of its own, like
// those of our pages.
func ReadBody(w http.ResponseWriter, r *http.Request) (url.Values, *oauth.Error) {
	return readBody(w, r, MaxPage)
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) (url.Values, *oauth.Error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || len(r.Header.Values("Content-Type")) > 1 {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "Send the parameters as application/x-www-form-urlencoded.")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "Send the body without a Content-Encoding.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "The body is too large.").WithStatus(http.StatusRequestEntityTooLarge)
	}
	if err != nil {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "The body could not be read.").WithCause(err)
	}
	return parseParameters(string(body))
}

// ReadQuery reads the parameters of an authorization request: from the query, or
// from the body of a POST (OpenID Connect Core section 3.1.2.1).
func ReadQuery(w http.ResponseWriter, r *http.Request) (url.Values, *oauth.Error) {
	tooLong := oauth.NewError(oauth.CodeInvalidRequest, "The request is longer than 24 KiB.")
	var params url.Values
	var bad *oauth.Error
	switch {
	case r.Method == http.MethodPost:
		params, bad = ReadForm(w, r)
	case len(r.URL.RawQuery) > MaxForm:
		return nil, tooLong
	default:
		params, bad = parseParameters(r.URL.RawQuery)
	}
	if bad == nil && len(params.Encode()) > maxRequest {
		return nil, tooLong
	}
	return params, bad
}

// parseParameters is strict where net/url is forgiving: a pair that does not
// decode is an error instead of absent, and so is a repeated name.
func parseParameters(raw string) (url.Values, *oauth.Error) {
	if strings.Count(raw, "&") >= maxParameters {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "There are more than 100 parameters.")
	}
	if strings.Contains(raw, ";") {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "Parameters are separated by an ampersand; a semicolon is written as %3B.")
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "The parameters are not properly percent-encoded.")
	}
	for name, all := range values {
		if len(all) > 1 && !repeatable(name) {
			return nil, oauth.NewError(oauth.CodeInvalidRequest, "A parameter is given more than once; each may be given once.")
		}
		for _, v := range all {
			if !utf8.ValidString(v) || !utf8.ValidString(name) || strings.ContainsRune(v, 0) {
				return nil, oauth.NewError(oauth.CodeInvalidRequest, "The parameters have to be valid UTF-8 without NUL.")
			}
		}
		if len(all) == 1 && all[0] == "" {
			delete(values, name)
		}
	}
	return values, nil
}
