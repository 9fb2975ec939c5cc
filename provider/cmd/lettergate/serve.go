package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
)

func serveCommand(environ []string) *cobra.Command {
	var file, logFormat string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the identity provider",
		Long: `Serve the identity provider until SIGTERM or SIGINT: then no new request is
accepted, those that have begun are finished, and the exit status is 0. A second
signal ends the process at once.

Without a configuration it is a development server on http://localhost:8080 that
shows its mails on a page instead of sending them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(cmd.ErrOrStderr(), logFormat)
			if err != nil {
				return err
			}
			cfg, p, err := load(file, environ, log)
			if err != nil {
				return err
			}
			listener, err := net.Listen("tcp", cfg.Listen)
			if err != nil {
				return failure{fmt.Errorf("cannot serve on %s: %w", cfg.Listen, err)}
			}
			announce(cmd.OutOrStdout(), cfg)
			logStart(log, cfg)
			if err := serve(cmd.Context(), p, listener, log); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&logFormat, "log-format", "text", "`FORMAT` of the log on standard error: text or json")
	return cmd
}

// load reads the configuration and makes its provider, which starts nothing. What
// it accepts can be served.
func load(file string, environ []string, log *slog.Logger) (config.Config, *provider.Provider, error) {
	setRedisLog(log)
	cfg, err := config.Load(file, environ)
	if err != nil {
		return config.Config{}, nil, err
	}
	p, err := provider.New(cfg, provider.Deps{Logger: log})
	return cfg, p, err
}

func newLogger(w io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, nil)), nil
	default:
		return nil, fmt.Errorf("--log-format is text or json, not %q", format)
	}
}

// announce says where the server is.
func announce(w io.Writer, cfg config.Config) {
	fmt.Fprintln(w, "issuer   "+cfg.Issuer)
	if url, ok := mailbox(cfg); ok {
		fmt.Fprintln(w, "mailbox  "+url)
	}
}

// logStart says where state is kept and what may be a mistake.
func logStart(log *slog.Logger, cfg config.Config) {
	for _, s := range storesOf(cfg) {
		log.Info("state is kept", "key", s.key, "in", s.String())
	}
	for _, w := range cfg.Warnings() {
		log.Warn(w.Message, "key", w.Path)
	}
}

// mailbox is the page that shows the mails of a development server.
func mailbox(cfg config.Config) (url string, ok bool) {
	return cfg.Issuer + "/dev/mailbox", cfg.Loopback() && cfg.Mail.Host == ""
}

// shutdownTime is how long requests that have begun may take to finish. It is more
// than the server's WriteTimeout, so it cuts off only what is stuck.
const shutdownTime = 20 * time.Second

// serve serves until ctx is done or something fails, and returns when nothing of
// it is running any more.
func serve(ctx context.Context, p *provider.Provider, listener net.Listener, log *slog.Logger) error {
	server := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	// The provider works on until the last request that needs it is answered.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ran, served := make(chan error, 1), make(chan error, 1)
	go func() { ran <- p.Run(work) }()
	go func() { served <- server.Serve(listener) }()

	var err error
	select {
	case err = <-ran:
		server.Close()
		return err
	case err = <-served:
	case <-ctx.Done():
		log.Info("stopping")
		shutdown(server, log)
	}
	stop()
	return errors.Join(err, <-ran)
}

// shutdown lets the requests that have begun finish.
func shutdown(server *http.Server, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Warn("requests were cut off", "after", shutdownTime, "err", err)
		server.Close()
	}
}
