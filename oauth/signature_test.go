package oauth

import (
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
)

// The form of a signature, by the standard library's encoder of anything.
func FuzzASN1Signature(f *testing.F) {
	f.Add([]byte{})
	for _, size := range []int{64, 96, 132} {
		f.Add(make([]byte, size))
		f.Add(slices.Repeat([]byte{0xff}, size))
		f.Add(slices.Repeat([]byte{0, 0x80, 1}, size/3))
	}
	f.Fuzz(func(t *testing.T, rs []byte) {
		if len(rs) < 2 || len(rs)%2 != 0 || len(rs) > 132 {
			return
		}
		half := len(rs) / 2
		want, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(rs[:half]), new(big.Int).SetBytes(rs[half:])})
		if err != nil {
			t.Fatal(err)
		}
		if got := asn1Signature(nil, rs); !slices.Equal(got, want) || len(got) > maxASN1Signature {
			t.Errorf("%x became %x, want %x", rs, got, want)
		}
	})
}
