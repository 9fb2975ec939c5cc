//go:build linux || darwin

package sqlstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// childWrites puts records until it is killed, and prints the id of each that was
// acknowledged.
func childWrites(path string) error {
	ctx := context.Background()
	s, err := sqlstore.Open(ctx, sqlstore.Config{Path: path})
	if err != nil {
		return err
	}
	ids := make(chan string)
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				r := record(fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i), strings.Repeat("v", 500), "g")
				if i%10 == 0 {
					r.Key.Kind = storage.User
				}
				if err := s.Put(ctx, r); err == nil {
					ids <- r.Key.String()
				}
			}
		}()
	}
	for id := range ids {
		fmt.Println(id)
	}
	return nil
}

// FT-18: whatever a killed process had acknowledged is there, while another
// process writes to the same file.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := openAt(t, path)
	defer s.Close()
	acknowledged := 0
	for round := range 10 {
		cmd := command(t, "write", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var ids []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			ids = append(ids, lines.Text())
			if len(ids) == 1 { // it is at work
				time.AfterFunc(rand.N(60*time.Millisecond), func() { cmd.Process.Kill() })
			}
			if len(ids)%20 == 1 {
				r := record(fmt.Sprintf("parent-%d-%d", round, len(ids)), "1")
				if err := s.Put(t.Context(), r); err == nil {
					ids = append(ids, r.Key.String())
				} else if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("Put beside another process: %v", err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		if len(ids) == 0 {
			t.Fatal("the other process wrote nothing")
		}
		acknowledged += len(ids)
		fresh := openAt(t, path)
		for _, id := range ids {
			kind, name, _ := strings.Cut(id, "/")
			got, err := fresh.Get(t.Context(), storage.Key{Kind: storage.Kind(kind), ID: name})
			if err != nil || got[0].IsZero() {
				t.Fatalf("round %d: %s was acknowledged and is gone: %v", round, id, err)
			}
		}
		if err := fresh.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged records in 10 kills", acknowledged)
}

// FT-19: a full disk fails writes and nothing else, and is got over without a
// restart.
func TestFullDisk(t *testing.T) {
	cmd := command(t, "fill", filepath.Join(t.TempDir(), "store.db"))
	if out, err := cmd.Output(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// childFills is a process whose files may not grow, which to SQLite is a disk that
// takes no more.
func childFills(path string) error {
	ctx := context.Background()
	s, err := sqlstore.Open(ctx, sqlstore.Config{Path: path})
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 300_000, Max: was.Max}); err != nil {
		return err
	}
	var kept []storage.Record
	for i := 0; ; i++ {
		if i == 1000 {
			return errors.New("1000 records went into 300 kB")
		}
		r := record(fmt.Sprint(i), strings.Repeat("v", 10_000), "g")
		err := s.Put(ctx, r)
		if err == nil {
			kept = append(kept, r)
			continue
		}
		if !errors.Is(err, storage.ErrUnavailable) {
			return fmt.Errorf("put on a full disk: %w, want ErrUnavailable", err)
		}
		if got, err := s.Get(ctx, r.Key); err != nil || !got[0].IsZero() {
			return fmt.Errorf("a refused record: stored %v, %w", !got[0].IsZero(), err)
		}
		break
	}
	check := func() error {
		listed, _, err := s.List(ctx, "g", storage.Page{Limit: storage.MaxPage})
		if err != nil || len(listed) != len(kept) {
			return fmt.Errorf("%d records are listed, %d were acknowledged: %w", len(listed), len(kept), err)
		}
		for _, r := range kept {
			if got, err := s.Get(ctx, r.Key); err != nil || got[0].Version != r.Version {
				return fmt.Errorf("an acknowledged record: %w", err)
			}
		}
		return nil
	}
	if err := check(); err != nil {
		return fmt.Errorf("while full: %w", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	r := record("room again", "1", "g")
	if err := s.Put(ctx, r); err != nil {
		return fmt.Errorf("put when there was room again: %w", err)
	}
	kept = append(kept, r)
	return errors.Join(check(), s.Close())
}
