package mail

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/lettergate/lettergate/config"
)

// SMTPConfigOf returns how to reach the mail server that a configuration names, or why
// its CAFile cannot be used. The Logger, the Now and the Trace are left to the caller.
func SMTPConfigOf(m config.Mail) (SMTPConfig, error) {
	roots, err := authorities(m.CAFile)
	if err != nil {
		return SMTPConfig{}, err
	}
	return SMTPConfig{
		Host: m.Host, Port: m.Port, Security: m.Security, Username: m.Username, Password: m.Password,
		From: m.From, RootCAs: roots, InsecurePlaintext: m.InsecurePlaintext,
	}, nil
}

// authorities reads a PEM file of authorities; without one the system's are trusted.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("mail.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("mail.ca_file: %s holds no PEM certificate", file)
	}
	return pool, nil
}
