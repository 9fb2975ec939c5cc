package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lettergate/lettergate/provider/storage"
)

var (
	// errClosed is what calls after Close get.
	errClosed = fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)

	errSlow = fmt.Errorf("%w: no answer within %v", storage.ErrUnavailable, callTimeout)

	errGroups = fmt.Errorf("%w: the groups of a record are fixed", storage.ErrInvalid)

	// errForeign is a key that holds what this package did not write.
	errForeign = fmt.Errorf("%w: %s", storage.ErrUnfit, foreign)
)

const foreign = "a key that begins with the prefix holds something else; name another prefix, or remove what others have put there"

// ended is the error of a call whose ctx is done.
func ended(ctx context.Context) error {
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, ctx.Err())
}

// fault turns an error of the client or of a server into one of the contract. What
// a server says is passed on only as far as it cannot repeat what is stored.
func fault(err error) error {
	var answer redis.Error
	var unverified *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrInvalid),
		errors.Is(err, storage.ErrUnfit), errors.Is(err, storage.ErrUnavailable):
		return err
	case errors.Is(err, redis.ErrClosed):
		return errClosed
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted):
		return fmt.Errorf("%w: all %d connections are in use", storage.ErrUnavailable, connections)
	case errors.As(err, &unverified):
		return fmt.Errorf("%w: the server's certificate is not accepted: %w; ca_file names who signed it", storage.ErrUnfit, unverified)
	case errors.As(err, &noTLS):
		return fmt.Errorf("%w: the server does not speak TLS; without it the URL begins with redis", storage.ErrUnfit)
	case errors.Is(err, redis.Nil): // no script and no command that is used answers that
		return fmt.Errorf("%w: the sentinels know no master of the name in the URL", storage.ErrUnfit)
	case errors.As(err, &answer):
		return refused(answer.Error())
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}

// A refusal is what the errors of Redis that hold any of the words mean. An empty
// sentence stands for what the server says.
type refusal struct {
	kind     error
	words    []string
	sentence string
}

// refusals are looked through in their order. Older servers wrap what a script met
// into a sentence, so the words are looked for everywhere.
var refusals = []refusal{
	{storage.ErrUnfit, []string{"FOREIGN", "WRONGTYPE", "not an integer"}, foreign},
	{storage.ErrUnavailable, []string{
		"LOADING", "BUSY", "MISCONF", "OOM", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "max number of clients",
	}, ""},
	{storage.ErrUnfit, []string{"WRONGPASS", "invalid password", "without any password configured"}, "the server refuses the user or password of the URL"},
	{storage.ErrUnfit, []string{"NOAUTH"}, "the server wants a password, and the URL has none"},
	{storage.ErrUnfit, []string{"NOPERM", "The user executing the script", "ACL failure in script"}, "the user of the URL may not do all that is needed"},
	{storage.ErrUnfit, []string{"MOVED", "ASK", "CROSSSLOT", "not allowed in cluster mode"}, "the server is one of a cluster; the URL begins with redis+cluster or rediss+cluster"},
	{storage.ErrUnfit, []string{"cluster support disabled"}, "the server is no cluster; the URL begins with redis or rediss"},
	{storage.ErrUnfit, []string{"DB index is out of range", "invalid DB index"}, "the server has fewer databases than the URL names"},
	{storage.ErrUnfit, []string{"unknown command", "nknown subcommand"}, "the server does not know a command that is needed"},
}

// refused is the error that an answer of a server means.
func refused(answer string) error {
	said := safe(answer)
	for _, r := range refusals {
		for _, word := range r.words {
			if !strings.Contains(said, word) {
				continue
			}
			if r.sentence == "" {
				return fmt.Errorf("%w: the server says %q", r.kind, said)
			}
			return fmt.Errorf("%w: %s (it says %q)", r.kind, r.sentence, said)
		}
	}
	return fmt.Errorf("%w: the server says %q", storage.ErrUnavailable, said)
}

// safe returns an answer without the parts that repeat arguments or name scripts.
func safe(answer string) string {
	const most = 160
	for _, end := range []string{", with args", ", on @user_script", "\r", "\n"} {
		answer, _, _ = strings.Cut(answer, end)
	}
	if said, name, ok := strings.Cut(answer, " script: "); ok && !strings.Contains(name, " ") {
		answer = said
	}
	return answer[:min(len(answer), most)]
}

// lost reports whether err may come from a connection that broke, so that the same
// read on another one could succeed.
func lost(err error) bool {
	var answer redis.Error
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil, errors.As(err, &answer), errors.Is(err, redis.ErrClosed),
		errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, storage.ErrUnfit), errors.Is(err, storage.ErrUnavailable):
		return false
	case errors.As(err, &timeout):
		return !timeout.Timeout()
	}
	return true
}
