package costtest_test

import (
	"crypto/sha256"
	"testing"

	"github.com/lettergate/lettergate/middleware/internal/costtest"
)

func TestCompare(t *testing.T) {
	block := make([]byte, 1<<10)
	results := costtest.Compare(3, 2,
		costtest.Subject{Name: "one", Do: func(int) { sha256.Sum256(block) }},
		costtest.Subject{Name: "twenty", Do: func(int) {
			for range 20 {
				sha256.Sum256(block)
			}
		}})
	if len(results) != 2 || results[0].Name != "one" || results[0].Ratio != 1 || results[1].Name != "twenty" {
		t.Fatalf("%+v", results)
	}
	// Far from 20 on both sides, for machines that are busy.
	if ratio := results[1].Ratio; ratio < 5 || ratio > 80 || results[1].Min <= 0 || results[1].Min > results[1].Median {
		t.Errorf("%+v", results[1])
	}
}
