package config_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
	"github.com/lettergate/lettergate/config"
)

const plain = "hunter2-hunter3-hunter4-hunter5-hunter6"

// holder has a Secret wherever a value can have one.
type holder struct {
	Value   config.Secret
	Pointer *config.Secret
	List    []config.Secret
	Array   [1]config.Secret
	Map     map[string]config.Secret
	Any     any
	Nested  *config.Mail
	config.SecretKey
}

func newHolder() holder {
	s := config.Secret(plain)
	return holder{
		s, &s, []config.Secret{s}, [1]config.Secret{s}, map[string]config.Secret{"k": s},
		s, &config.Mail{Password: s}, config.SecretKey{ID: "a", Value: s},
	}
}

// mustHide fails when text contains any spelling of the secret.
func mustHide(t *testing.T, door, text string) {
	t.Helper()
	for _, spelling := range []string{
		"hunter", fmt.Sprintf("%x", "hunter"), fmt.Sprintf("%X", "hunter"),
		fmt.Sprintf("% x", "hunter"), strings.Trim(fmt.Sprint([]byte("hunter")), "[]"),
	} {
		if strings.Contains(text, spelling) {
			t.Errorf("%s shows the secret: %s", door, text)
		}
	}
	if !strings.Contains(text, "***") && !strings.Contains(text, "0x") {
		t.Errorf("%s does not show ***: %s", door, text)
	}
}

func TestSecretFormat(t *testing.T) {
	s := config.Secret(plain)
	h := newHolder()
	for _, verb := range strings.Fields("%v %+v %#v %s %q %#q %x %X %#x %d %b %c %U %t %e %08.3f %-60s %60s %.2s %z") {
		if text := fmt.Sprintf(verb, s); text != "***" {
			t.Errorf("%s prints %q, want ***", verb, text)
		}
		mustHide(t, verb+" of a pointer", fmt.Sprintf(verb, &s))
		// fmt calls no methods behind a nested pointer when the verb does not suit
		// a pointer.
		h.Nested = nil
		if strings.HasSuffix(verb, "v") {
			h.Nested = newHolder().Nested
		}
		mustHide(t, verb+" of a struct", fmt.Sprintf(verb, h))
		mustHide(t, verb+" of a pointer to a struct", fmt.Sprintf(verb, &h))
	}
	for door, text := range map[string]string{
		"Sprint": fmt.Sprint(s), "Sprintln": fmt.Sprintln("x", s), "String": s.String(), "GoString": s.GoString(),
		"Errorf": fmt.Errorf("dial %v: %w", s, errors.New("refused")).Error(), "empty": fmt.Sprint(config.Secret("")),
	} {
		mustHide(t, door, text)
	}
}

func TestSecretMarshal(t *testing.T) {
	h := newHolder()
	h.Any = []any{config.Secret(plain), h.Pointer}
	for door, marshal := range map[string]func(any) ([]byte, error){
		"JSON": json.Marshal, "YAML": yaml.Marshal, "XML": xml.Marshal,
		"YAML as JSON": func(v any) ([]byte, error) { return yaml.MarshalWithOptions(v, yaml.JSON()) },
	} {
		if door != "XML" { // which has no maps
			text, err := marshal(h)
			if err != nil {
				t.Fatalf("%s: %v", door, err)
			}
			mustHide(t, door, string(text))
		}
		for _, v := range []any{h.Value, h.Pointer, h.Nested, h.SecretKey} {
			text, err := marshal(v)
			if err != nil {
				t.Fatalf("%s: %v", door, err)
			}
			mustHide(t, fmt.Sprintf("%s of %T", door, v), string(text))
		}
	}
	var out strings.Builder
	if err := template.Must(template.New("").Parse("{{.Value}} {{printf \"%q\" .Pointer}} {{.}}")).Execute(&out, h); err != nil {
		t.Fatal(err)
	}
	mustHide(t, "template", out.String())
}

func TestSecretLog(t *testing.T) {
	h := newHolder()
	for _, v := range []any{h.Value, h.Pointer, h, &h, h.List, h.Map, config.Config{Mail: *h.Nested}} {
		var text, structured bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&structured, nil)} {
			slog.New(handler).With("with", v).WithGroup("g").Info("start", "v", v, slog.Any("any", v))
		}
		mustHide(t, fmt.Sprintf("slog text of %T", v), text.String())
		mustHide(t, fmt.Sprintf("slog JSON of %T", v), structured.String())
	}
}

func TestSecretReveal(t *testing.T) {
	if got := config.Secret(plain).Reveal(); got != plain {
		t.Errorf("Reveal() = %q, want %q", got, plain)
	}
}
