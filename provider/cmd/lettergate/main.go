// Lettergate runs an identity provider that signs people in with a code sent to
// their email address.
//
//	lettergate serve    a development server on http://localhost:8080
//	lettergate serve --config lettergate.yaml
//	lettergate check --config lettergate.yaml
//	lettergate mail test ann@example.com --config lettergate.yaml
//	lettergate version
//
// Every key of the configuration may also come from the environment, as in
// LETTERGATE_MAIL_HOST. The exit status is 0 when all went well, 1 when something
// failed on the way, and 2 when the command line or the configuration is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lettergate/lettergate/config"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// Before anything is seen of the first signal, so that a second one ends the
		// process at once.
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		cancel()
	}()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

const (
	exitFailed  = 1
	exitMistake = 2
)

// run is the whole program. It returns the exit status.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	root := rootCommand(environ)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if faults, ok := errors.AsType[config.Faults](err); ok {
		fmt.Fprintln(stderr, faults) // a line each, as editors and compilers write places
		err = errors.New(count(len(faults), "fault") + " in the configuration")
	}
	fmt.Fprintln(stderr, "lettergate:", err)
	if _, ok := errors.AsType[failure](err); ok {
		return exitFailed
	}
	return exitMistake
}

// A failure is an error that neither the command line nor the configuration is to
// blame for.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

func rootCommand(environ []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "lettergate",
		Short: "An identity provider that signs people in with a code sent to their email address",
		// run writes errors, once and without the usage around them.
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(serveCommand(environ), checkCommand(environ), mailCommand(environ), versionCommand())
	return root
}

// configFlag adds the flag that names the configuration.
func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "", "YAML `FILE` with the configuration (default: a development server on localhost)")
}

// count writes a number of things.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
