// Package costtest compares what functions cost, on a machine that others use too.
//
// Its invariant: what it compares ran in one process, taking turns. A round runs
// every function once, so a neighbour or a slower clock hits all of them alike; what
// counts is the processor time of the process (user and system, the garbage
// collector's share included), which does not grow while others run; and of the
// ratios of all rounds the median is taken.
package costtest

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// turn is about how much processor time a function gets in a round.
const turn = 30 * time.Millisecond

// A Subject is a function to be measured. Do is called with 0, 1, 2 and so on, by as
// many goroutines at once as there are processors.
type Subject struct {
	Name string
	Do   func(i int)
}

// A Result is what one call of a subject cost.
type Result struct {
	Name        string
	Median, Min time.Duration // processor time, over the rounds
	Ratio       float64       // to the first subject, the median of all rounds
	Allocs      float64
}

// Compare measures subjects in rounds on a number of processors (GOMAXPROCS). The
// results are in the order of the subjects.
func Compare(count, processors int, subjects ...Subject) []Result {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	calls := make([]int, len(subjects))
	for i, s := range subjects {
		calls[i] = calibrate(s, processors)
	}
	times := make([][]time.Duration, len(subjects))
	for round := range count {
		for k := range subjects {
			i := (round + k) % len(subjects) // nobody always runs behind the same one
			times[i] = append(times[i], run(subjects[i], calls[i], processors)/time.Duration(calls[i]))
		}
	}
	results := make([]Result, len(subjects))
	for i, s := range subjects {
		ratios := make([]float64, count)
		for round := range count {
			ratios[round] = float64(times[i][round]) / float64(times[0][round])
		}
		results[i] = Result{s.Name, median(times[i]), slices.Min(times[i]), median(ratios), allocs(s)}
	}
	return results
}

// calibrate returns how many calls take a turn.
func calibrate(s Subject, processors int) int {
	for n := 16; ; n *= 2 {
		if spent := run(s, n, processors); spent >= turn/4 {
			return int(float64(n) * float64(turn) / float64(spent))
		}
	}
}

// run returns the processor time of n calls.
func run(s Subject, n, processors int) time.Duration {
	runtime.GC() // nobody pays for the garbage of the one before
	before := processorTime()
	if processors == 1 {
		for i := range n {
			s.Do(i)
		}
	} else {
		var wg sync.WaitGroup
		for p := range processors {
			wg.Go(func() {
				for i := p; i < n; i += processors {
					s.Do(i)
				}
			})
		}
		wg.Wait()
	}
	return processorTime() - before
}

func allocs(s Subject) float64 {
	i := 0
	return testing.AllocsPerRun(200, func() { s.Do(i); i++ })
}

func median[T time.Duration | float64](values []T) T {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
