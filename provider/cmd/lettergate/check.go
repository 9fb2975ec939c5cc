package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lettergate/lettergate/config"
)

func checkCommand(environ []string) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration and say what serve would do with it",
		Long: `Check a configuration exactly as serve does, without serving. All that is wrong
is reported at once, each fault with its place, and the exit status is 2. With
nothing wrong it says what serve would do. Nothing is opened or sent.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := load(file, environ, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			return describe(cmd.OutOrStdout(), cfg)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// describe says what serve would do. It shows no secret, and nothing of one.
func describe(w io.Writer, cfg config.Config) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "issuer\t%s\n", cfg.Issuer)
	fmt.Fprintf(t, "listen\t%s\n", cfg.Listen)
	fmt.Fprintf(t, "storage\t%s\n", describeStorage(cfg))
	fmt.Fprintf(t, "secrets\t%s\n", describeSecrets(cfg))
	fmt.Fprintf(t, "mail\t%s\n", describeMail(cfg))
	fmt.Fprintf(t, "clients\t%d\n", len(cfg.Clients))
	for _, c := range cfg.Clients {
		kind := "confidential"
		if c.Public() {
			kind = "public"
		}
		fmt.Fprintf(t, "  %s\t%s: %s\n", c.ID, kind, strings.Join(c.GrantTypes, ", "))
	}
	if err := t.Flush(); err != nil {
		return failure{err}
	}
	return nil
}

func describeStorage(cfg config.Config) string {
	if path, ok := cfg.SQLitePath(); ok {
		return "SQLite, " + path
	}
	engine, _, _ := strings.Cut(cfg.Storage.URL.Reveal(), ":")
	return engine // the rest may hold a password
}

func describeSecrets(cfg config.Config) string {
	if len(cfg.Secrets) == 0 {
		return "generated, kept in " + cfg.DataDir
	}
	return fmt.Sprintf("%s, new values are made with %s", count(len(cfg.Secrets), "secret"), cfg.Secrets[0].ID)
}

func describeMail(cfg config.Config) string {
	if url, ok := mailbox(cfg); ok {
		return "not sent, shown at " + url
	}
	security := cfg.Mail.Security
	if cfg.Mail.InsecurePlaintext {
		security = "in clear"
	}
	return fmt.Sprintf("%s:%d (%s) as %s", cfg.Mail.Host, cfg.Mail.Port, security, cfg.Mail.From)
}
