package sqlstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lettergate/lettergate/provider/storage"
)

// Codes of PostgreSQL that are told apart, and the first two characters of those
// that waiting does not cure: the user, the database, the schema, a right or a
// function is wrong or missing, or data is damaged.
const (
	invalidUser     = "28000"
	invalidPassword = "28P01"
	noDatabase      = "3D000"
	noRight         = "42501"
	readOnlyServer  = "25006"
	damagedData     = "XX001"
	damagedIndex    = "XX002"
	knownStatement  = "42P05"
	noStatement     = "26000"
)

var unfitClasses = []string{"0A", "22", "23", "26", "28", "3D", "3F", "42"}

// waitForReplicas is the function of the server that warns when a commit did not
// wait for its replicas to the end. Its text depends on the server's language.
const waitForReplicas = "SyncRepWaitForLSN"

// postgresFault turns an error of pgx into one of the contract. ctx is that of the
// statement, not the caller's.
//
// The text of PostgreSQL names tables, users and databases. What is stored may be
// in its details, which are left out, as pgx does.
func postgresFault(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrInvalid),
		errors.Is(err, storage.ErrUnfit), errors.Is(err, storage.ErrUnavailable):
		return err
	}
	err = oneLine{err}
	var pg *pgconn.PgError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pg):
		return serverFault(pg, err)
	case errors.As(err, &cert):
		return fmt.Errorf("%w: %w; name the file with the certificate of its authority as sslrootcert in the URL", storage.ErrUnfit, err)
	case strings.Contains(err.Error(), "server refused TLS connection"): // pgx has no value for it
		return fmt.Errorf("%w: %w; without TLS, which sslmode=disable in the URL would allow, everybody on the way can read and change what is stored",
			storage.ErrUnfit, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: the server does not answer: %w", storage.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}

// serverFault is postgresFault for what the server said.
func serverFault(pg *pgconn.PgError, err error) error {
	right := ""
	switch pg.Code {
	case invalidUser, invalidPassword:
		right = "; check user and password of the URL and the server's pg_hba.conf"
	case noDatabase:
		right = "; create it, or name another in the URL"
	case noRight:
		right = "; grant it to the user of the URL, or name another user"
	case knownStatement, noStatement:
		right = "; a pooler gives us another session for each statement, so write default_query_exec_mode=cache_describe in the URL"
	}
	kind := storage.ErrUnavailable
	if len(pg.Code) == 5 && slices.Contains(unfitClasses, pg.Code[:2]) || pg.Code == damagedData || pg.Code == damagedIndex {
		kind = storage.ErrUnfit
	}
	return fmt.Errorf("%w: %w%s", kind, err, right)
}

// oneLine is an error whose text is one line, for logs. That of pgx has a line for
// each server it tried.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

// readOnly reports whether err says that the server takes no writes.
func readOnly(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, errReadOnly) || errors.As(err, &pg) && pg.Code == readOnlyServer
}

// durable turns the outcome of a Put or Delete that waits for replicas into
// ErrNotDurable when it may have been made without them: to find it in this server
// then proves nothing.
func (p *Postgres) durable(conn *pgconn.PgConn, err error) error {
	if conn.CustomData()[waitForReplicas] != nil {
		return fmt.Errorf("%w: %w: the server did not wait for its replicas", storage.ErrUnavailable, storage.ErrNotDurable)
	}
	var pg *pgconn.PgError
	if err == nil || !p.replicated.Load() || errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" {
		return err // an error is an answer: nothing was written
	}
	return fmt.Errorf("%w: %w: %w", storage.ErrUnavailable, storage.ErrNotDurable, oneLine{err})
}
