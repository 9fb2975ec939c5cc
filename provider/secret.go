package provider

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A generatedSecret is the secret of a development server that was given none.
type generatedSecret struct {
	dir, path string
	value     []byte
	drawn     bool // not on disk yet
}

// loadOrDrawSecret reads the secret of the data directory, or draws one that Run
// will keep there.
func loadOrDrawSecret(dir string) (*generatedSecret, error) {
	s := &generatedSecret{dir: dir, path: filepath.Join(dir, "secret")}
	raw, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.value, s.drawn = make([]byte, 32), true
		rand.Read(s.value) // crypto/rand.Read never fails
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("read the generated secret: %w", err)
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, fmt.Errorf("read the generated secret: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others; run chmod 600 on it", s.path)
	}
	s.value, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(s.value) < 32 {
		return nil, fmt.Errorf("%s is not a secret of ours; remove it together with the database, or restore it", s.path)
	}
	return s, nil
}

// keep writes a drawn secret to disk before anything is derived from it: whole or
// not at all. Another process that did so first is an error, because its secret is
// another one.
func (s *generatedSecret) keep() error {
	if !s.drawn {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("keep the generated secret: %w", err)
	}
	f, err := os.CreateTemp(s.dir, "secret-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the generated secret: %w", err)
	}
	defer os.Remove(f.Name()) // a leftover is harmless
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(s.value) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep the generated secret: %w", err)
	}
	// A link, unlike a rename, does not replace what is there.
	if err := os.Link(f.Name(), s.path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("another server has just started in %s; start again", s.dir)
	} else if err != nil {
		return fmt.Errorf("keep the generated secret: %w", err)
	}
	s.drawn = false
	return nil
}
