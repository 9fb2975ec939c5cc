package config

import (
	"errors"
	"reflect"
	"strconv"
)

var (
	errNumber = errors.New("must be a whole number")
	errBool   = errors.New("must be true or false")
)

// setText sets a field that is no struct and no list from its text. The error
// says what would be right and never repeats the text, which may be a secret.
func setText(field reflect.Value, text string) error {
	if field.Type() == durationType {
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		field.SetInt(int64(d))
		return nil
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errNumber
		}
		field.SetInt(int64(n))
	case reflect.Bool:
		if text != "true" && text != "false" {
			return errBool
		}
		field.SetBool(text == "true")
	default:
		return errors.New("config: no text for a " + field.Type().String())
	}
	return nil
}
