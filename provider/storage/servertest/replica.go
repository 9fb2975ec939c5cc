package servertest

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
)

// Replica starts another redis-server that copies s and ends with the test. It
// returns when the copy is up to date. conf is as for [Redis]. s must not speak
// TLS.
func (s *Server) Replica(t testing.TB, conf ...string) *Server {
	t.Helper()
	replica, err := s.StartReplica("", conf...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report(t, replica.Close()) })
	return replica
}

// StartReplica is Replica where there is no test to end the server: see
// [StartRedis].
func (s *Server) StartReplica(dir string, conf ...string) (*Server, error) {
	if s.tls != nil {
		return nil, errors.New("start a replica: its primary must not speak TLS")
	}
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return nil, err
	}
	replica, err := startRedis(dir, func(_ *Server, own int) ([]string, error) {
		lines := []string{"port " + strconv.Itoa(own), "replicaof " + host + " " + port}
		if s.password != "" {
			lines = append(lines, "masterauth "+strconv.Quote(s.password))
		}
		return append(lines, conf...), nil
	})
	if err != nil {
		return nil, err
	}
	// Both must say so: the primary counts in WAIT only whom it knows.
	err = until(startPatience, "the replica is up to date", func() bool {
		link, err := replica.info("master_link_status", "INFO", "replication")
		return err == nil && link == "up" && s.serves(replica)
	})
	if err != nil {
		return nil, errors.Join(err, replica.Close())
	}
	return replica, nil
}

// serves tells whether s sends replica its changes.
func (s *Server) serves(replica *Server) bool {
	_, port, err := net.SplitHostPort(replica.Addr)
	if err != nil {
		return false
	}
	answer, err := s.Command("INFO", "replication")
	text, _ := answer.(string)
	return err == nil && strings.Contains(text, ",port="+port+",state=online,")
}
