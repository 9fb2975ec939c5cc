package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/lettergate/lettergate/config"
)

// advise says what to do about a step that failed.
func (s *SMTP) advise(name string, err error) string {
	if advice := s.adviseTLS(err); advice != "" {
		return advice
	}
	switch name {
	case StepConnect:
		return s.adviseConnect(err)
	case StepTLS:
		return fmt.Sprintf("Port %d may be one where TLS begins later: use security: starttls, whose usual port is 587.", s.config.Port)
	case StepGreeting:
		return s.adviseGreeting(err)
	case StepHello:
		switch code := replyCode(err); {
		case code >= 500:
			return "The server does not like how we introduce ourselves, with the domain of mail.from: use one that is yours."
		case code >= 400:
			return "The server has no time for us just now: wait some minutes."
		}
	case StepStartTLS:
		return s.adviseStartTLS(err)
	case StepSignIn:
		return s.adviseSignIn(err)
	case StepSender:
		return s.adviseSender(err)
	case StepRecipient, StepData, StepAccepted:
		return s.adviseMail(name, err)
	}
	return broken
}

const broken = "The server or something in between ended the conversation: try again, and look for a firewall or a virus scanner that reads along."

func (s *SMTP) adviseConnect(err error) string {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		if lookup.IsNotFound {
			return fmt.Sprintf("There is no host called %s: look for a slip in mail.host.", s.config.Host)
		}
		return "The name could not be looked up: see whether this machine (or its container) has a working DNS server."
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("Nothing answers on port %d, or it is blocked: check mail.host and mail.port (465 for security: ssl, 587 for starttls), then the firewalls on the way.", s.config.Port)
	case timedOut(err):
		return fmt.Sprintf("Port %d does not answer: many hosting providers block ports of mail, so ask yours to open it, or use the other one of 465 (security: ssl) and 587 (security: starttls); check mail.host too.", s.config.Port)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "This machine has no way to that network: check its connection and its routes."
	}
	return "Check mail.host and mail.port, and the network of this machine."
}

// adviseTLS is about what can be wrong with TLS, whenever it begins.
func (s *SMTP) adviseTLS(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if s.config.Security == SecuritySSL {
			return fmt.Sprintf("The server speaks without TLS first on port %d: use security: starttls there (the usual port is 587), or port 465 with ssl.", s.config.Port)
		}
		return "The server agreed to TLS and then did not speak it: whoever runs it has to repair that, or something in between changes what it says."
	}
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("The certificate is for %s and not for %s: write in mail.host a name that it is for.", s.shown(certified(wrong.Certificate, s.config.Host)), s.config.Host)
	}
	if wrong, ok := errors.AsType[x509.CertificateInvalidError](err); ok && wrong.Reason == x509.Expired {
		return "The certificate has expired or is not valid yet: whoever runs the server has to renew it, unless the clock of this machine is wrong."
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case unknown && s.config.RootCAs != nil:
		return "The authority behind the certificate is not in the file that mail.ca_file names, and only those in it are trusted: add it, or leave mail.ca_file out for a server on the internet."
	case unknown:
		return "Nobody knows the authority behind the certificate: if it is your own, name a PEM file with it in mail.ca_file; if the server is on the internet, something in between pretends to be it."
	case invalid:
		return "The certificate cannot be used: whoever runs the server has to replace it."
	case strings.Contains(err.Error(), "protocol version"):
		return "The server and we have no version of TLS in common: it has to speak 1.2 or 1.3."
	}
	return ""
}

func (s *SMTP) adviseGreeting(err error) string {
	switch {
	case replyCode(err) != 0:
		return "The server does not talk to this machine: its address may be on a block list or have too many connections; ask whoever runs the server."
	case s.config.Security == SecuritySTARTTLS && s.tls != nil && silent(err):
		return fmt.Sprintf("The server waits for us to speak first on port %d: it may want TLS at once, so use security: ssl (the usual port is 465).", s.config.Port)
	case silent(err):
		return broken
	}
	return fmt.Sprintf("What answers on port %d is no mail server: check mail.host and mail.port.", s.config.Port)
}

func (s *SMTP) adviseStartTLS(err error) string {
	switch {
	case errors.Is(err, errNoSTARTTLS):
		return "Nothing is sent without TLS: use security: ssl with port 465 if the server has it, or have TLS turned on there; if it has both already, something in between takes the offer out."
	case replyCode(err) != 0:
		return "The server cannot do TLS just now: try later, or use security: ssl with port 465."
	}
	return broken
}

func (s *SMTP) adviseSignIn(err error) string {
	switch code := replyCode(err); {
	case errors.Is(err, errNoMechanism):
		return "The server takes no password here: leave mail.username and mail.password out if it needs none, or use the port that it has for sending (587 or 465)."
	case code >= 500:
		advice := config.Mail{Host: s.config.Host}.PasswordAdvice()
		if advice == "" {
			advice = "check both; many senders want an app password or authorization code that the settings of the mailbox make, and SMTP turned on there"
		}
		return "The server refuses mail.username or mail.password: " + advice + "."
	case code >= 400:
		return "The server does not check passwords just now, often after too many tries: wait some minutes."
	}
	return broken
}

func (s *SMTP) adviseSender(err error) string {
	switch code := replyCode(err); {
	case code == 530 && s.config.Username == "":
		return "The server wants us to sign in: set mail.username and mail.password."
	case code >= 500:
		return fmt.Sprintf("The server does not let us send as %s: mail.from has to be the mailbox of mail.username, or an address that is set up there as a sender.", s.from.Address)
	case code >= 400:
		return "The server puts off this sender: wait some minutes, and see whether the mailbox has reached a limit of the day."
	}
	return broken
}

// adviseMail is about answers to the recipient and the content.
func (s *SMTP) adviseMail(name string, err error) string {
	switch code := replyCode(err); {
	case code >= 500 && name == StepRecipient && s.config.Username == "":
		return "The server refuses the recipient: look for a slip in the address; if it is right, the server may send to others only for those who sign in, so set mail.username and mail.password."
	case code >= 500 && name == StepRecipient:
		return "The server refuses the recipient: look for a slip in the address, or try another one."
	case code >= 500:
		return "The server refuses the mail itself: it may take it for spam; check that mail.from is the mailbox, and SPF and DKIM of its domain."
	case code >= 400:
		return "The server puts the mail off, as many do with a sender they have not seen before (greylisting): wait some minutes and try again. lettergate serve tries again by itself."
	}
	return broken
}

// silent reports whether err is that nothing was said.
func silent(err error) bool {
	return timedOut(err) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

func timedOut(err error) bool {
	late, ok := errors.AsType[net.Error](err)
	// What ends the whole closes the connection.
	return ok && late.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}
