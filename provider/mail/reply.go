package mail

import (
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail/smtp"
)

// enhanced is the start of a reply that has a status code of RFC 3463.
var enhanced = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// failure says which step failed and why. Of what the server said it repeats only
// the numbers: its words may be anything, and often are the words it was sent.
func failure(deed string, err error) error {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return fmt.Errorf("%s: it answered %s", deed, numbers(reply))
	}
	return fmt.Errorf("%s: %w", deed, quiet(err))
}

// numbers returns what of a reply is not words.
func numbers(reply *textproto.Error) string {
	return strings.TrimSpace(strconv.Itoa(reply.Code) + " " + enhanced.FindString(reply.Msg))
}

// replyCode returns the code of the reply that err stands for, or 0.
func replyCode(err error) int {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Code
	}
	return 0
}

// quiet returns err unless its words are the server's.
func quiet(err error) error {
	var protocol textproto.ProtocolError
	switch {
	case errors.As(err, &protocol):
		return errors.New("the answer is not SMTP")
	case errors.Is(err, smtp.ErrUnexpectedServerResponse):
		return smtp.ErrUnexpectedServerResponse
	}
	return err
}
