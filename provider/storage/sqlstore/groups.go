package sqlstore

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/lettergate/lettergate/provider/storage"
)

// A record keeps the names of its groups beside it, so that it can be taken out
// of them without a search.

var errGroups = fmt.Errorf("%w: the groups of a record are fixed", storage.ErrInvalid)

// appendGroups appends each name with its length before it.
func appendGroups(b []byte, names []string) []byte {
	for _, name := range names {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	return b
}

// eachGroup yields the names in b. It ends early where b is damaged.
func eachGroup(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n, used := binary.Uvarint(b)
			if used <= 0 || n > uint64(len(b)-used) {
				return
			}
			b = b[used:]
			if !yield(b[:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// groupNames returns the names in b.
func groupNames(b []byte) []string {
	var names []string
	for name := range eachGroup(b) {
		names = append(names, string(name))
	}
	return names
}
