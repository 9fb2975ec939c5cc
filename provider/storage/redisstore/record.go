package redisstore

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// What is stored begins with a header that is not the value's: see common.lua.
const (
	recordForm = 1 // its first byte
	headBytes  = 59

	// never is the expiry of what does not expire, in Unix milliseconds.
	never = math.MaxInt64
)

// A mark tells one entry of a record in a group from all others of that record:
// when it was made, in Unix milliseconds by the clock of its maker, and 64 random
// bits.
type mark [16]byte

func newMark(now int64) mark {
	var m mark
	binary.BigEndian.PutUint64(m[:], uint64(now))
	rand.Read(m[8:]) // crypto/rand.Read never fails
	return m
}

func (m mark) made() int64 { return int64(binary.BigEndian.Uint64(m[:])) }

// A head is the header of a stored record.
type head struct {
	version storage.Version
	mark    mark
	expires int64
	sort    int64
	groups  int // the length of what follows
}

// parseHead reads the header that b begins with.
func parseHead(b []byte) (h head, ok bool) {
	if len(b) < headBytes || b[0] != recordForm {
		return head{}, false
	}
	copy(h.version[:], b[1:])
	copy(h.mark[:], b[17:])
	h.expires = int64(binary.BigEndian.Uint64(b[33:]))
	h.sort = int64(binary.BigEndian.Uint64(b[41:]))
	h.groups = int(binary.BigEndian.Uint16(b[57:]))
	return h, true
}

// parseRecord returns the record that is stored under key as b. Its value shares
// the memory of b.
func parseRecord(key storage.Key, b []byte) (r storage.Record, h head, ok bool) {
	h, ok = parseHead(b)
	if !ok || len(b) < headBytes+h.groups {
		return storage.Record{}, head{}, false
	}
	groups, ok := parseGroups(b[headBytes : headBytes+h.groups])
	r = storage.Record{Key: key, Groups: groups, Sort: h.sort, Version: h.version, Value: b[headBytes+h.groups:]}
	if h.expires != never {
		r.Expires = time.UnixMilli(h.expires).UTC()
	}
	return r, h, ok
}

// appendGroups appends each name with its length, two bytes, before it.
func appendGroups(b []byte, names []string) []byte {
	for _, name := range names {
		b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
		b = append(b, name...)
	}
	return b
}

// parseGroups returns the names in b.
func parseGroups(b []byte) (names []string, ok bool) {
	for len(b) > 0 {
		if len(b) < 2 {
			return nil, false
		}
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return nil, false
		}
		names = append(names, string(b[2:2+n]))
		b = b[2+n:]
	}
	return names, true
}

// memberBase returns how the entries of key in groups begin. The order of these
// texts, byte by byte, is that of the keys, and none is the beginning of another:
// the kind and a zero byte, the id with 0, 255 for each zero byte, and 0, 1.
func memberBase(key storage.Key) string {
	return string(key.Kind) + "\x00" + strings.ReplaceAll(key.ID, "\x00", "\x00\xff") + "\x00\x01"
}

// parseMember returns what an entry says: memberBase and a mark.
func parseMember(member string) (key storage.Key, m mark, ok bool) {
	at := len(member) - len(m)
	if at < 0 {
		return storage.Key{}, mark{}, false
	}
	copy(m[:], member[at:])
	base, ended := strings.CutSuffix(member[:at], "\x00\x01")
	kind, id, ok := strings.Cut(base, "\x00")
	key = storage.Key{Kind: storage.Kind(kind), ID: strings.ReplaceAll(id, "\x00\xff", "\x00")}
	return key, m, ok && ended && key.Check() == nil
}

// millis returns t in Unix milliseconds, never for the zero time. What is before
// 1970 is over, whenever it was.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return max(0, min(t.UnixMilli(), never-1))
}

const (
	// keepDead is how much longer than its expiry says something stays in Redis,
	// so that no server whose clock is behind misses it.
	keepDead = 5 * time.Minute

	// farOff is the longest life that is told to Redis; what lives longer has none.
	farOff = 100 * 365 * 24 * time.Hour
)

// life returns for how many milliseconds Redis is to keep what expires then, ""
// for ever. It only decides when garbage is collected.
func life(now, expires int64) string {
	switch {
	case expires-farOff.Milliseconds() > now:
		return ""
	case expires <= now-keepDead.Milliseconds():
		return "1"
	}
	return strconv.FormatInt(expires-now+keepDead.Milliseconds(), 10)
}

// bound returns to when the groups of a record that expires then are to live: long
// enough beyond that it can be extended many times before they have to be told.
func bound(now, expires int64) int64 {
	ahead := max(time.Hour.Milliseconds(), (expires-now)/2)
	if expires >= never-ahead {
		return never
	}
	return expires + ahead
}

func bytes8(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
