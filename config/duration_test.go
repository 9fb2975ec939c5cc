package config_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/lettergate/lettergate/config"
)

func TestParseDuration(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration
		back string // what it prints as; text when empty
	}{
		{"60s", time.Minute, "1m"},
		{"90s", 90 * time.Second, "1m30s"},
		{"10m", 10 * time.Minute, ""},
		{"12h", 12 * time.Hour, ""},
		{"1h30m", 90 * time.Minute, ""},
		{"1h0m5s", time.Hour + 5*time.Second, ""},
		{"100ms", 100 * time.Millisecond, ""},
		{"1d", 24 * time.Hour, ""},
		{"30d", 720 * time.Hour, ""},
		{"720h", 720 * time.Hour, "30d"},
		{"1d12h", 36 * time.Hour, "36h"},
		{"1.5d", 36 * time.Hour, "36h"},
		{"106751d", 106751 * 24 * time.Hour, ""},
		{"0s", 0, ""},
		{"0", 0, "0s"},
		{"0d", 0, "0s"},
	} {
		d, err := config.ParseDuration(test.text)
		if err != nil || d.Std() != test.want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", test.text, d.Std(), err, test.want)
		}
		if (d == config.Off) != (test.want == 0) || d == 0 {
			t.Errorf("ParseDuration(%q) = %d; exactly zero is Off", test.text, d)
		}
		if test.back == "" {
			test.back = test.text
		}
		if d.String() != test.back {
			t.Errorf("ParseDuration(%q) prints %q, want %q", test.text, d, test.back)
		}
		if again, err := config.ParseDuration(d.String()); again != d || err != nil {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", d, again, err, d)
		}
	}
}

func TestParseDurationRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "10", "m", "d", "-5m", "-0s", "1d-5m", "-1d", "+1d", "10 m", "1dd", "1d1d", "5m1d", "1x", "1e3s",
		"106752d", "9999999999999999999d", "106751d24h", "9223372036854775808ns", "NaNd", "0x1d", "forever",
	} {
		if d, err := config.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, d)
		}
	}
}

func TestDurationMarshal(t *testing.T) {
	type box struct{ D, Zero config.Duration }
	in := box{config.Duration(36 * time.Hour), config.Off}
	for name, codec := range map[string]struct {
		marshal   func(any) ([]byte, error)
		unmarshal func([]byte, any) error
		want      string
	}{
		"JSON": {json.Marshal, json.Unmarshal, `{"D":"36h","Zero":"0s"}`},
		"YAML": {yaml.Marshal, yaml.Unmarshal, "d: 36h\nzero: 0s\n"},
	} {
		text, err := codec.marshal(in)
		if err != nil || string(text) != codec.want {
			t.Errorf("%s: %s, %v, want %s", name, text, err, codec.want)
		}
		var out box
		if err := codec.unmarshal(text, &out); err != nil || out != in {
			t.Errorf("%s: read back %v, %v, want %v", name, out, err, in)
		}
	}
}
