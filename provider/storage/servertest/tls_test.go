package servertest_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

// handshake connects as host, with the authorities in caFile or with the
// system's.
func handshake(t *testing.T, addr, host, caFile string) error {
	t.Helper()
	config := &tls.Config{ServerName: host}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		try(t, err)
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(text)
	}
	conn, err := tls.Dial("tcp", addr, config)
	if err == nil {
		conn.Close()
	}
	return err
}
