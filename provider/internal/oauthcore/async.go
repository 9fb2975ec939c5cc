package oauthcore

import (
	"fmt"
	"runtime/debug"
)

type none struct{}

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
				err = fmt.Errorf("panic: %T\n%s", fault, debug.Stack())
			}
		}()
		result, err = f()
	}()
	return func() (T, error) {
		<-done
		return result, err
	}
}
