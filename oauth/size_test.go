//go:build !full

package oauth_test

// Sizes for each change; the full lane has the larger ones.
const (
	histories    = 40
	randomTokens = 20_000
)
