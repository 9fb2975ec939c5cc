package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
)

// A store is one of the places where a deployment keeps its state.
type store struct {
	name  string // what its line is called
	key   string // of the configuration
	url   config.Secret
	path  string // the file, for SQLite
	state string // what is known of it, "" for nothing
}

// storesOf lists the stores of a configuration.
func storesOf(cfg config.Config) []store {
	stores := []store{{name: "storage", key: "storage.url", url: cfg.Storage.URL}}
	if cfg.Storage.AccountsURL != "" {
		stores = append(stores, store{name: "accounts", key: "storage.accounts_url", url: cfg.Storage.AccountsURL})
	}
	for i := range stores {
		stores[i].path, _ = cfg.SQLitePathOf(stores[i].url)
	}
	return stores
}

// String says where the store is and what is known of it, without its secrets.
func (s store) String() string {
	text := config.Redacted(s.url)
	switch config.StorageEngine(s.url) {
	case config.EngineSQLite:
		text = "SQLite, " + s.path
	case config.EnginePostgres:
		text = "PostgreSQL, " + text
	case config.EngineRedis:
		text = "Redis, " + text
	}
	if s.state != "" {
		text += ": " + s.state
	}
	return text
}

// check opens the store as serve does, tries every operation on it, and closes it.
// It does not make a SQLite file: it finds out whether serve could.
func (s store) check(ctx context.Context, cfg config.Config, timeout time.Duration, log *slog.Logger) (state string, err error) {
	if s.path != "" {
		if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
			return "will be created", creatable(s.path)
		}
	}
	deadline := time.Now().Add(timeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err = provider.CheckStore(ctx, cfg, s.url, log)
	switch {
	case err == nil:
		return "ok", nil
	case !time.Now().Before(deadline): // a connection may notice before ctx does
		return "", fmt.Errorf("not done within %s: %w", timeout, err)
	default:
		return "", err
	}
}

// creatable returns why serve could not make a file at path. It looks for the folder
// that is there, in which serve would make the others, and writes to it once.
func creatable(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	switch {
	case err != nil:
		return fmt.Errorf("its file cannot be created: %w", err)
	case !info.IsDir():
		return fmt.Errorf("its file cannot be created: %s is no folder", dir)
	}
	f, err := os.CreateTemp(dir, ".lettergate-check-*")
	if err != nil {
		return fmt.Errorf("its file cannot be created: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
