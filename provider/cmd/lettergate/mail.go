package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/mail"
)

func mailCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{Use: "mail", Short: "Try out how mail leaves"}
	cmd.AddCommand(mailTestCommand(environ))
	return cmd
}

func mailTestCommand(environ []string) *cobra.Command {
	var file string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "test ADDRESS",
		Short: "Send a test mail and show what the mail server says to it",
		Long: `Send one real mail to ADDRESS as serve would send a code, and show each step of
the conversation with the mail server: what came of it, how long it took, and what
to do about the one that failed. No password is shown.

The exit status is 0 when the server has accepted the mail, 1 when it has not, and
2 when there is no mail server in the configuration.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return fmt.Errorf("--timeout has to be more than 0s, as in 10s; it is %s", timeout)
			}
			to, err := mail.ParseAddress(args[0])
			if err != nil {
				return fmt.Errorf("%q: %w", args[0], err)
			}
			cfg, err := config.Load(file, environ)
			if err != nil {
				return err
			}
			return testMail(cmd.Context(), cmd.OutOrStdout(), cfg, to.String(), timeout)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "the `TIME` that each step has")
	return cmd
}

// wholeTime is how many steps' time the whole conversation has.
const wholeTime = 5

// testMail sends a mail and shows how.
func testMail(ctx context.Context, w io.Writer, cfg config.Config, to string, timeout time.Duration) error {
	if url, ok := mailbox(cfg); ok {
		return fmt.Errorf("no mail leaves: without mail.host its mails are shown at %s; "+
			"set mail.preset (qq, exmail, 163 or gmail) or mail.host, with mail.username and mail.password", url)
	}
	server, err := mail.SMTPConfigOf(cfg.Mail)
	if err != nil {
		return err
	}
	server.StepTimeout, server.Timeout = timeout, wholeTime*timeout
	failed := false
	server.Trace = func(step mail.Step) {
		failed = failed || step.Err != nil
		showStep(w, step)
	}
	sender, err := mail.NewSMTP(server)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s to %s\n", describeMail(cfg), to)
	err = sender.Send(ctx, testMessage(cfg, to))
	switch {
	case err == nil:
		fmt.Fprintf(w, "The mail server has the mail. Look for it in the mailbox of %s, and among its spam.\n", to)
		return nil
	case failed: // the step has said why
		return failure{errors.New("the test mail was not accepted")}
	default:
		return failure{fmt.Errorf("the test mail was not sent: %w", err)}
	}
}

// showStep writes what came of a step as soon as it is known.
func showStep(w io.Writer, step mail.Step) {
	took := "<1ms"
	if ms := step.Took.Milliseconds(); ms > 0 {
		took = fmt.Sprintf("%dms", ms)
	}
	if step.Err == nil {
		line := fmt.Sprintf("ok      %-9s  %7s  %s", step.Name, took, step.Detail)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
		return
	}
	fmt.Fprintf(w, "FAILED  %-9s  %7s  %s\n", step.Name, took, step.Err)
	fmt.Fprintf(w, "        %s\n", step.Advice)
}

func testMessage(cfg config.Config, to string) mail.Message {
	text := fmt.Sprintf(`This mail was sent to try out how %s sends mail:
it is the identity provider at %s.

Nothing has to be done. If you did not expect it, somebody who runs that
provider took your address for theirs.
`, cfg.Pages.Name, cfg.Issuer)
	return mail.Message{To: to, Subject: "A test mail of " + cfg.Pages.Name, Text: text, Lang: "en"}
}
