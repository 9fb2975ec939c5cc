package config_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/lettergate/lettergate/config"
)

func ExampleLoad() {
	dir, err := os.MkdirTemp("", "lettergate")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "lettergate.yaml")
	text := `
issuer: http://localhost:9096
mail:
  host: smtp.example.com
  username: no-reply@example.com
clients:
  - client_id: notes
    redirect_uris: [http://localhost:3000/callback]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	cfg, err := config.Load(file, []string{"LETTERGATE_MAIL_PASSWORD=correct horse", "LETTERGATE_SESSIONS_IDLE=8h"})
	if err != nil {
		fmt.Println(err) // one line for each fault
		return
	}
	fmt.Println(cfg.Listen, cfg.Mail.Port, cfg.Sessions.Idle, cfg.Sessions.Max)
	fmt.Println(cfg.Mail.Password, cfg.Clients[0].Public())
	// Output:
	// localhost:9096 587 8h 30d
	// *** true
}

func ExampleConfig_Validate() {
	cfg := config.Config{
		Issuer: "https://id.example.com",
		Mail:   config.Mail{Host: "smtp.example.com", From: "no-reply@example.com"},
	}
	fmt.Println(cfg.WithDefaults().Validate())
	// Output:
	// secrets: at least one is required for an https issuer: write its id and value here, or set LETTERGATE_SECRETS_0_ID and LETTERGATE_SECRETS_0_VALUE (or LETTERGATE_SECRETS_0_VALUE_FILE, the name of a file with it); make a value with: openssl rand -base64 48
}
