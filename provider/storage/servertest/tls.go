package servertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// RedisTLS starts a redis-server that speaks only TLS and ends with the test.
// Its certificate is for 127.0.0.1 and localhost; caFile is the PEM file of the
// authority that signed it. It asks clients for no certificate. For the rest it
// is as [Redis].
func RedisTLS(t testing.TB, conf ...string) (server *Server, caFile string) {
	t.Helper()
	s, caFile, err := StartRedisTLS("", conf...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report(t, s.Close()) })
	return s, caFile
}

// StartRedisTLS is RedisTLS where there is no test to end the server: see
// [StartRedis].
func StartRedisTLS(dir string, conf ...string) (server *Server, caFile string, err error) {
	s, err := startRedis(dir, func(s *Server, port int) ([]string, error) {
		if err := s.certify(); err != nil {
			return nil, err
		}
		return append([]string{
			"port 0",
			"tls-port " + strconv.Itoa(port),
			"tls-auth-clients no",
			"tls-cert-file " + strconv.Quote(s.file("server.pem")),
			"tls-key-file " + strconv.Quote(s.file("server.key")),
			"tls-ca-cert-file " + strconv.Quote(s.file("ca.pem")),
		}, conf...), nil
	})
	if err != nil {
		return nil, "", err
	}
	return s, s.file("ca.pem"), nil
}

// certify writes ca.pem, server.pem and server.key, and trusts the first.
func (s *Server) certify() error {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	authority := certificate("servertest authority", 1)
	authority.IsCA, authority.BasicConstraintsValid = true, true
	authority.KeyUsage = x509.KeyUsageCertSign
	leaf := certificate("servertest redis", 2)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.DNSNames = []string{"localhost"}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, &signer.PublicKey, signer)
	if err != nil {
		return fmt.Errorf("make an authority: %w", err)
	}
	cert, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, signer)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode a key: %w", err)
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca})
	for name, text := range map[string][]byte{
		"ca.pem":     root,
		"server.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		"server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	} {
		if err := os.WriteFile(s.file(name), text, 0o600); err != nil {
			return fmt.Errorf("write a certificate: %w", err)
		}
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(root)
	s.tls = &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1"}
	return nil
}

func certificate(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(48 * time.Hour),
	}
}
