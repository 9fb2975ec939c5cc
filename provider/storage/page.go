package storage

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// DefaultPage is the limit of a [Page] that names none.
const DefaultPage = 100

// A Page says which part of a group List returns.
type Page struct {
	After string // where the page before ended, as returned by List; "" begins
	Until int64  // only records whose Sort is at most Until; 0 means all
	Limit int    // at most this many records, 1 to MaxPage; 0 means DefaultPage
}

// Check returns what a List of the page is asked for: the place behind which it
// begins, the highest Sort, and the most records. It returns ErrInvalid for a page
// that is outside the contract. Engines call it.
func (p Page) Check() (after Cursor, until int64, limit int, err error) {
	if p.Limit < 0 || p.Limit > MaxPage {
		return Cursor{}, 0, 0, fmt.Errorf("%w: page of %d records", ErrInvalid, p.Limit)
	}
	if after, err = ParseCursor(p.After); err != nil {
		return Cursor{}, 0, 0, err
	}
	return after, cmp.Or(p.Until, math.MaxInt64), cmp.Or(p.Limit, DefaultPage), nil
}

// A Cursor is a place in a group: that of the last record of a page. The next page
// begins behind it, whether or not a record is still there. Every engine hands out
// the same text for the same place, so a walk may go on in another store that holds
// the same group.
type Cursor struct {
	Sort int64
	Kind Kind
	ID   string
}

var errCursor = fmt.Errorf("%w: the page begins at no place that List returned", ErrInvalid)

// CursorOf returns the place of r.
func CursorOf(r Record) Cursor { return Cursor{r.Sort, r.Key.Kind, r.Key.ID} }

// Compare returns -1, 0 or 1 as c is before, at or behind d in the order of List.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(cmp.Compare(c.Sort, d.Sort), cmp.Compare(c.Kind, d.Kind), cmp.Compare(c.ID, d.ID))
}

// String returns the cursor as List hands it out: unpadded base64url of the Sort,
// eight bytes, the Kind, a zero byte, and the ID.
func (c Cursor) String() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.Sort))
	b = append(b, c.Kind...)
	b = append(b, 0)
	return base64.RawURLEncoding.EncodeToString(append(b, c.ID...))
}

// ParseCursor returns the place that s names; that of "" is before all others. It
// returns ErrInvalid for what String never returns.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{Sort: math.MinInt64}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 8 || len(s) != base64.RawURLEncoding.EncodedLen(len(b)) { // the decoder skips line breaks
		return Cursor{}, errCursor
	}
	kind, id, ok := strings.Cut(string(b[8:]), "\x00")
	c := Cursor{int64(binary.BigEndian.Uint64(b)), Kind(kind), id}
	if err := (Key{Kind: c.Kind, ID: c.ID}).Check(); !ok || err != nil {
		return Cursor{}, errCursor
	}
	return c, nil
}
