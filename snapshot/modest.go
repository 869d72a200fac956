package snapshot

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// modestNice is the nice value of threads that write what nobody waits for: where the
// processors are wanted such a thread has a tenth of one that is not nice (sched(7)).
const modestNice = 10

// modest runs f on a thread of its own that leaves the processors to whatever else this peer
// does: to commits, to whoever asks it something. The thread ends with f, and so does its nice
// value. Where the kernel refuses that, f runs as anything else does.
func modest(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked. getpriority(2) gives 40 to 1 for nice values of -20 to 19.
		runtime.LockOSThread()
		if raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()); err == nil && 20-raw < modestNice {
			_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), modestNice)
		}
		done <- f()
	}()
	return <-done
}
