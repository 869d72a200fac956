package lab

import (
	"errors"
	"fmt"
	"time"
)

// T is what a lab needs of a test. A *testing.T is one; the demo brings its own.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any) // does not return
	Skipf(format string, args ...any)  // does not return
	Failed() bool
	Cleanup(func())
}

// Eventually asks f until it gives nil, and fails the test when it has not within
// limit. The error of f says what is still missing, and is what the test shows.
func Eventually(t T, limit time.Duration, f func() error) {
	t.Helper()
	start := time.Now()
	for {
		err := f()
		if err == nil {
			return
		}
		if hopeless, is := errors.AsType[hopeless](err); is {
			t.Fatalf("%v", hopeless.error)
		}
		if time.Since(start) > limit {
			t.Fatalf("after %v still: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// hopeless is an error that waiting does not cure.
type hopeless struct{ error }

// Hopeless makes Eventually give up at once.
func Hopeless(format string, args ...any) error {
	return hopeless{fmt.Errorf(format, args...)}
}
