//go:build full

package oauth_test

const (
	histories    = 2_000
	randomTokens = 1_000_000
)
