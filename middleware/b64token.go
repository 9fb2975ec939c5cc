package middleware

import "strings"

// outsideB64 has 1 for each byte that may not stand in a b64token (RFC 6750 section
// 2.1) before its padding.
var outsideB64 = func() (table [256]byte) {
	for i := range table {
		c := byte(i)
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("-._~+/", c) < 0 {
			table[i] = 1
		}
	}
	return table
}()

// isB64Token says whether s is a b64token. It looks at eight bytes at a time, because
// for a token that the verifier remembers this loop is half of the work.
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	if s == "" {
		return false
	}
	outside := byte(0)
	for len(s) >= 8 {
		c := s[:8]
		outside |= outsideB64[c[0]] | outsideB64[c[1]] | outsideB64[c[2]] | outsideB64[c[3]] |
			outsideB64[c[4]] | outsideB64[c[5]] | outsideB64[c[6]] | outsideB64[c[7]]
		s = s[8:]
	}
	for i := range len(s) {
		outside |= outsideB64[s[i]]
	}
	return outside == 0
}
