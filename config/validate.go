package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// Validate reports all that is wrong with c, as [Faults] without places. It opens
// nothing: whether a file or a host exists is found out by who uses it.
//
// It takes c as it is. Call [Config.WithDefaults] first on a Config that was filled
// by hand.
func (c Config) Validate() error { return c.faults().err() }

func (c Config) faults() Faults {
	return append(c.fieldFaults(), c.crossFaults()...)
}

// checks are the validations that the struct tags of Config name, for texts.
var checks = map[string]func(string) string{
	"issuer":       checkIssuer,
	"listen":       checkListen,
	"key_id":       checkKeyID,
	"network":      checkNetwork,
	"storage_url":  checkStorageURL,
	"mail_from":    checkMailFrom,
	"address":      checkAddress,
	"code":         checkTestCode,
	"host":         checkHost,
	"text":         checkText,
	"client_id":    checkClientID,
	"redirect_uri": checkRedirectURI,
	"scope":        checkScope,
	"web_origin":   checkOrigin,
	"jwks_uri":     checkKeyURI,
	"host_port":    checkHostPort,
}

// newValidator returns a validator of our own: nothing is registered globally.
func newValidator() (*validator.Validate, error) {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(keyOf)
	var errs []error
	for name, check := range checks {
		errs = append(errs, v.RegisterValidation(name, func(fl validator.FieldLevel) bool {
			return check(fl.Field().String()) == ""
		}))
	}
	errs = append(errs,
		v.RegisterValidation("min_duration", func(fl validator.FieldLevel) bool {
			d, bound := durations(fl.Field(), fl.Param())
			return d >= bound // a bound of 0s is read as Off, so that Off is within it
		}),
		v.RegisterValidation("max_duration", func(fl validator.FieldLevel) bool {
			d, bound := durations(fl.Field(), fl.Param())
			return d <= bound
		}))
	return v, errors.Join(errs...)
}

// durations returns a field and the bound that its tag names.
func durations(field reflect.Value, param string) (d, bound Duration) {
	bound, err := ParseDuration(param)
	if err != nil {
		panic("config: bound of a duration: " + err.Error()) // a tag of ours, not input
	}
	return Duration(field.Int()), bound
}

// fieldFaults checks each field for itself, as its tag says.
func (c Config) fieldFaults() Faults {
	v, err := newValidator()
	if err != nil {
		return Faults{{Message: err.Error()}}
	}
	err = v.Struct(c)
	wrong, ok := errors.AsType[validator.ValidationErrors](err)
	if !ok {
		if err != nil {
			return Faults{{Message: err.Error()}}
		}
		return nil
	}
	faults := make(Faults, len(wrong))
	for i, w := range wrong {
		_, path, _ := strings.Cut(w.Namespace(), ".") // without the type's name
		faults[i] = Fault{Path: path, Message: message(path, w)}
	}
	return faults
}

// message says what is wrong with the field at path, and what would be right.
func message(path string, w validator.FieldError) string {
	value := reflect.ValueOf(w.Value())
	if check, ok := checks[w.Tag()]; ok {
		if value.Type() == secretType {
			return "is not allowed: " + check(value.String())
		}
		return quote(value.String()) + " is not allowed: " + check(value.String())
	}
	switch w.Tag() {
	case "required":
		if value.Type() == secretType {
			return "is required; write it here, or set " + variablesOf(path)
		}
		return "is required"
	case "unique":
		return "lists the same value twice"
	case "oneof":
		known := strings.Fields(w.Param())
		return quote(value.String()) + " is not known" + didYouMean(value.String(), known)
	case "min":
		return "must " + atLeast(value, "at least "+w.Param())
	case "max":
		return "must " + atLeast(value, "at most "+w.Param())
	case "min_duration":
		return fmt.Sprintf("must be at least %s, and is %s", w.Param(), value)
	case "max_duration":
		return fmt.Sprintf("must be at most %s, and is %s", w.Param(), value)
	default:
		return "is not allowed (" + w.Tag() + ")"
	}
}

// atLeast puts a bound into words: characters of a text, entries of a list, or
// the number itself.
func atLeast(value reflect.Value, bound string) string {
	switch value.Kind() {
	case reflect.String:
		return "have " + bound + " characters"
	case reflect.Slice:
		return "have " + bound + " entries"
	default:
		return fmt.Sprintf("be %s, and is %d", bound, value.Int())
	}
}
