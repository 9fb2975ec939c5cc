package session

import (
	"bytes"
	"testing"
)

// What is sealed opens for the same app, the same purpose, and a secret that is
// still listed; nothing else opens.
func TestSealer(t *testing.T) {
	one, two := "the first secret of a test sealer", "the second secret of a test sealer"
	make := func(app string, secrets ...string) *sealer {
		s, err := newSealer(app, secrets)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sealed := make("app", one).seal("purpose", []byte("data"))
	for name, c := range map[string]struct {
		s       *sealer
		purpose string
		sealed  []byte
		ok, old bool
	}{
		"the same":           {make("app", one), "purpose", sealed, true, false},
		"with a newer first": {make("app", two, one), "purpose", sealed, true, true},
		"another purpose":    {make("app", one), "purpose2", sealed, false, false},
		"another app":        {make("app2", one), "purpose", sealed, false, false},
		"shifted":            {make("ap", one), "ppurpose", sealed, false, false},
		"another secret":     {make("app", two), "purpose", sealed, false, false},
		"cut":                {make("app", one), "purpose", sealed[:len(sealed)-1], false, false},
		"only the key's id":  {make("app", one), "purpose", sealed[:4], false, false},
		"nothing":            {make("app", one), "purpose", nil, false, false},
	} {
		data, old, ok := c.s.open(c.purpose, c.sealed)
		if ok != c.ok || old != c.old || ok && string(data) != "data" {
			t.Errorf("%s: %q, %t, %t", name, data, old, ok)
		}
	}
	if bytes.Equal(sealed, make("app", one).seal("purpose", []byte("data"))) {
		t.Error("the same data is sealed the same")
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, _, ok := make("app", one).open("purpose", changed); ok {
			t.Errorf("byte %d can be changed", i)
		}
	}
}
