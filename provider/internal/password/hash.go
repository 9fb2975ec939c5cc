package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

const (
	saltBytes = 16
	keyBytes  = 32
)

// The most that a hash may cost, whoever asks for it: a record that was damaged or
// planted must not take the memory of the machine or a minute of its time.
const (
	mostMemory      = 256 << 10 // KiB
	mostIterations  = 16
	mostParallelism = 16
)

// errHash is all that is said of what is no hash: it may be a password.
var errHash = errors.New("not a hash of a password")

// A cost is what one hash takes.
type cost struct {
	memory      uint32 // KiB
	iterations  uint32
	parallelism uint8
}

// check refuses costs that argon2 does not know (RFC 9106, section 3.1) and those
// beyond the most.
func (c cost) check() error {
	switch least := 8 * uint32(c.parallelism); {
	case c.parallelism < 1 || c.parallelism > mostParallelism:
		return fmt.Errorf("a parallelism of %d; 1 to %d are possible", c.parallelism, mostParallelism)
	case c.iterations < 1 || c.iterations > mostIterations:
		return fmt.Errorf("%d iterations; 1 to %d are possible", c.iterations, mostIterations)
	case c.memory < least || c.memory > mostMemory:
		return fmt.Errorf("%d KiB of memory; with a parallelism of %d, %d to %d are possible", c.memory, c.parallelism, least, mostMemory)
	}
	return nil
}

// A hash is what is kept of a password.
type hash struct {
	cost
	salt [saltBytes]byte
	key  [keyBytes]byte
}

// String returns the PHC string of h.
func (h hash) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.iterations, h.parallelism,
		b64.EncodeToString(h.salt[:]), b64.EncodeToString(h.key[:]))
}

// parse returns the hash that String has written as s, and takes nothing that it
// would have written in another way.
func parse(s string) (hash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 {
		return hash{}, errHash
	}
	var h hash
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return hash{}, errHash
	}
	m, mErr := number(costs[0], "m=", 32)
	t, tErr := number(costs[1], "t=", 32)
	p, pErr := number(costs[2], "p=", 8)
	h.cost = cost{uint32(m), uint32(t), uint8(p)}
	if err := errors.Join(mErr, tErr, pErr, fixed(h.salt[:], parts[4]), fixed(h.key[:], parts[5])); err != nil {
		return hash{}, errHash
	}
	if err := h.cost.check(); err != nil {
		return hash{}, fmt.Errorf("%w: %w", errHash, err)
	}
	if h.String() != s { // another version or function, a leading zero, a line break in the base64
		return hash{}, errHash
	}
	return h, nil
}

func number(s, name string, bits int) (uint64, error) {
	digits, ok := strings.CutPrefix(s, name)
	if !ok {
		return 0, errHash
	}
	return strconv.ParseUint(digits, 10, bits)
}

// fixed decodes s into dst, which it must fill.
func fixed(dst []byte, s string) error {
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(b) != len(dst) {
		return errHash
	}
	copy(dst, b)
	return nil
}

// derive computes the key of a password with h's cost and salt. The caller has a
// turn. What is longer than maxInput is cut: it matches nothing that Hash has
// made, which the caller has to see to.
func (h hash) derive(password string) (key [keyBytes]byte) {
	normal := norm.NFC.String(password[:min(len(password), maxInput)])
	copy(key[:], argon2.IDKey([]byte(normal), h.salt[:], h.iterations, h.memory, h.parallelism, keyBytes))
	return key
}

// is reports whether h is the hash of the password, in the same time for all
// passwords of a length.
func (h hash) is(password string) bool {
	key := h.derive(password)
	return subtle.ConstantTimeCompare(h.key[:], key[:]) == 1 && len(password) <= maxInput
}

// fresh returns a hash of the password with a salt of its own.
func (s *Service) fresh(password string) hash {
	h := hash{cost: s.cost}
	rand.Read(h.salt[:]) // crypto/rand.Read never fails
	h.key = h.derive(password)
	return h
}

// Hash returns what to give to Set: the PHC string of a new argon2id hash. It
// returns ErrRule when the password cannot be chosen, and ErrBusy.
func (s *Service) Hash(ctx context.Context, password string) (string, error) {
	if err := s.Check(password); err != nil {
		return "", err
	}
	if err := s.turn(ctx); err != nil {
		return "", err
	}
	defer s.done()
	return s.fresh(password).String(), nil
}

// turn waits until one more hash may be computed. The caller ends its turn by
// done. Who waits has a timer and nothing else.
func (s *Service) turn(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
	if s.turnNow() {
		return nil
	}
	t := time.NewTimer(s.cfg.Wait)
	defer t.Stop()
	select {
	case s.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	case <-t.C:
		return ErrBusy
	}
}

// turnNow is turn without the waiting.
func (s *Service) turnNow() bool {
	select {
	case s.turns <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *Service) done() { <-s.turns }
