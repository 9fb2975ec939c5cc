package oauthcore

import (
	"fmt"
	"runtime/debug"
)

type none struct{}

// Panicked, called where fault was recovered, is the error to log for it: the type and
// the stack, not the value, which may hold anything.
func Panicked(fault any) error { return fmt.Errorf("panic: %T\n%s", fault, debug.Stack()) }

// Async begins f beside the request and returns what waits for it, any number of
// times. A panic of f is an error to whoever waits: on a goroutine of its own it
// would end the process, and f may call code of the embedding program.
func Async[T any](f func() (T, error)) (wait func() (T, error)) {
	var result T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if fault := recover(); fault != nil {
				err = Panicked(fault)
			}
		}()
		result, err = f()
	}()
	return func() (T, error) {
		<-done
		return result, err
	}
}
