// Command bench compares what it costs to protect a handler with access tokens, by
// this module's middleware and by others in use:
//
//	go run .                 the table, some minutes
//	go run . -rounds 3       the same, quicker and less exact
//
// All get the same tokens and requests and check the same things: signature, issuer,
// audience and expiry, with the issuer's keys fetched over HTTP beforehand; all put
// what the token says into the request's context. What is compared is processor time,
// in rounds, see package costtest. It is a module of its own so that its dependencies
// are nobody else's. It fails when ours is not ahead of each.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/lettergate/lettergate/middleware/internal/costtest"
)

func main() {
	count := flag.Int("rounds", 12, "how often each is measured")
	flag.Parse()
	if err := run(*count); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(count int) error {
	fmt.Printf("%s, %s/%s, %s, %d rounds, processor time of one request.\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, processor(), count)
	for _, alg := range algorithms {
		for _, processors := range []int{1, 2} {
			if err := table(alg, processors, count); err != nil {
				return fmt.Errorf("%s: %w", alg, err)
			}
		}
	}
	return nil
}

// table prints what all cost for one algorithm.
func table(alg string, processors, count int) error {
	i, err := newIssuer(alg)
	if err != nil {
		return err
	}
	defer i.close()
	subjects := []costtest.Subject{{Name: "the bare signature check", Do: i.raw}}
	for _, p := range peers {
		do, err := p.prepare(i)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		subjects = append(subjects, costtest.Subject{Name: p.name, Do: do})
	}
	fmt.Printf("\n%s, GOMAXPROCS %d\n\n", alg, processors)
	fmt.Println("| | median | least | times the signature check | allocations |")
	fmt.Println("|---|---|---|---|---|")
	results := costtest.Compare(count, processors, subjects...)
	for _, r := range results {
		fmt.Printf("| %s | %s | %s | %.2f | %.0f |\n", r.Name, microseconds(r.Median), microseconds(r.Min), r.Ratio, r.Allocs)
	}
	return ahead(results[1], results[2], results[3:])
}

// ahead says whether both of ours cost less than all others.
func ahead(first, repeated costtest.Result, others []costtest.Result) error {
	for _, other := range others {
		if other.Ratio <= first.Ratio || other.Ratio <= repeated.Ratio {
			return fmt.Errorf("%s costs %.2f times the signature check, %s %.2f, %s %.2f", other.Name, other.Ratio, first.Name, first.Ratio, repeated.Name, repeated.Ratio)
		}
	}
	return nil
}

func microseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f µs", float64(d)/float64(time.Microsecond))
}

// processor returns the name of the processor where the system tells it.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "processor unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "processor unknown"
}
