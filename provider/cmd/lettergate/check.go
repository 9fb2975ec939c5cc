package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lettergate/lettergate/config"
)

func checkCommand(environ []string) *cobra.Command {
	var file string
	var offline bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration and its stores, and say what serve would do",
		Long: `Check a configuration exactly as serve does, without serving. All that is wrong
is reported at once, each fault with its place, and the exit status is 2. With
nothing wrong it says what serve would do.

Then it opens the stores as serve does and tries every operation that will be
needed, with records of its own that it removes again: a user who may not do one
of them is found here and not at the first sign-in. The exit status is 1 when a
store cannot be used. A SQLite file that is not there is not made; what has no
tables yet gets them. Whose tokens a store holds only serve finds out. --offline
leaves all this out. Nothing is sent by mail.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return fmt.Errorf("--timeout has to be more than 0s, as in 10s; it is %s", timeout)
			}
			// What an engine warns of when it is opened is a finding too.
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			cfg, _, err := load(file, environ, log)
			if err != nil {
				return err
			}
			stores := storesOf(cfg)
			var unusable error
			if !offline {
				unusable = checkStores(cmd.Context(), cfg, stores, timeout, log)
			}
			if err := describe(cmd.OutOrStdout(), cfg, stores); err != nil {
				return failure{err}
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			return unusable
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&offline, "offline", false, "read files only: connect to nothing and open no database")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "the `TIME` that each store has")
	return cmd
}

// checkStores tries each store and notes what came of it. The error says all that is
// wrong with them.
func checkStores(ctx context.Context, cfg config.Config, stores []store, timeout time.Duration, log *slog.Logger) error {
	var faults []string
	for i := range stores {
		s := &stores[i]
		state, err := s.check(ctx, cfg, timeout, log)
		if err != nil {
			faults = append(faults, s.key+": "+err.Error())
			state = "cannot be used"
		}
		s.state = state
	}
	if len(faults) == 0 {
		return nil
	}
	return failure{errors.New(strings.Join(faults, "\nlettergate: "))}
}

// describe says what serve would do. It shows no secret, and nothing of one.
func describe(w io.Writer, cfg config.Config, stores []store) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "issuer\t%s\n", cfg.Issuer)
	fmt.Fprintf(t, "listen\t%s\n", cfg.Listen)
	for _, s := range stores {
		fmt.Fprintf(t, "%s\t%s\n", s.name, s)
	}
	fmt.Fprintf(t, "secrets\t%s\n", describeSecrets(cfg))
	fmt.Fprintf(t, "mail\t%s\n", describeMail(cfg))
	fmt.Fprintf(t, "clients\t%d\n", len(cfg.Clients))
	for _, c := range cfg.Clients {
		fmt.Fprintf(t, "  %s\t%s\n", c.ID, describeClient(c))
	}
	return t.Flush()
}

// describeClient says who a client is, who can sign in with it, and how.
func describeClient(c config.Client) string {
	kind := "confidential"
	switch {
	case c.CloudBase:
		kind = "CloudBase app"
	case c.Public():
		kind = "public"
	case c.JWKSURI != "":
		where, _, _ := strings.Cut(c.JWKSURI, "?")
		kind = "confidential by keys at " + where
	case len(c.JWKS.Keys) > 0:
		kind = "confidential by " + count(len(c.JWKS.Keys), "key")
	}
	switch {
	case !c.Allows(config.GrantAuthorizationCode) && !c.Allows(config.GrantEmailCaptcha): // nobody signs in
	case c.SignUp:
		kind += ", anybody can sign up"
	default:
		kind += ", existing accounts only"
	}
	kind += ": " + strings.Join(c.GrantTypes, ", ")
	switch {
	case !c.CloudBase:
	case len(c.Origins) == 0:
		kind += "; no origins, so not from a browser"
	default:
		kind += "; from " + strings.Join(c.Origins, ", ")
	}
	return kind
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
