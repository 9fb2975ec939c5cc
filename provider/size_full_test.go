//go:build full

package provider_test

const (
	rounds = 200
	kills  = 200
)
