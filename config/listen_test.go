package config_test

import (
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

// TestDevelopmentStaysOnThisMachine: whoever reaches an http issuer reads its mails.
func TestDevelopmentStaysOnThisMachine(t *testing.T) {
	for listen, allowed := range map[string]bool{
		"localhost:8080": true, "127.0.0.1:8080": true, "[::1]:8080": true,
		":8080": false, "0.0.0.0:8080": false, "192.0.2.1:8080": false,
	} {
		c := config.Config{Issuer: "http://localhost:8080", Listen: listen}.WithDefaults()
		err := c.Validate()
		if (err == nil) != allowed || err != nil && !strings.Contains(err.Error(), "insecure_listen") {
			t.Errorf("listen %s: %v", listen, err)
		}
		c.InsecureListen = true
		if err := c.Validate(); err != nil {
			t.Errorf("listen %s, insecure_listen: %v", listen, err)
		}
	}
}
