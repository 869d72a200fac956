package snapshot

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestModest: what runs modestly is nice, and nothing else becomes so by it.
func TestModest(t *testing.T) {
	nice := func() int {
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		if err != nil {
			t.Fatal(err)
		}
		return 20 - raw // the system call gives 40 to 1 for -20 to 19 (getpriority(2))
	}
	before, failed := nice(), errors.New("it failed")
	err := modest(func() error {
		if got := nice(); got != max(modestNice, before) {
			t.Errorf("it ran with a nice value of %d, where %d is usual", got, before)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	for range 100 { // on whatever threads there are now
		done := make(chan int)
		go func() { done <- nice() }()
		if got := <-done; got != before {
			t.Fatalf("something else runs with a nice value of %d", got)
		}
	}
}
