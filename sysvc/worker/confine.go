package worker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits of a child.
const (
	// overhead is the memory that a worker may take beside what its call may, and what it has
	// when it starts: the Go runtime takes 64 MiB at once, and wazero ten times the
	// size of a module while it compiles it.
	overhead = 128 << 20
	maxStack = 32 << 20 // bytes of one goroutine: deep recursion ends the child, soon
	maxFiles = 16       // the pipes, and what the runtime waits with
	nobody   = 65534
)

// confine gives up everything that a child does not need. The note says what this kernel
// does not have.
func confine(memory int64) (note string, err error) {
	// What is set for one thread is set for this one until the filter spreads it to all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := closeFiles(); err != nil {
		return "", fmt.Errorf("close files that the worker should not have: %w", err)
	}
	if err := limit(memory); err != nil {
		return "", err
	}
	if err := dropRoot(); err != nil {
		return "", fmt.Errorf("a worker must not be root: %w", err)
	}
	// A change of user clears the signal that ends the child with its parent, and which
	// was set when it was started.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return "", fmt.Errorf("end with the parent: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return "", fmt.Errorf("keep others from looking into the worker: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fmt.Errorf("gain no privileges: %w", err)
	}
	err = filterSystemCalls()
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return "the kernel does not filter system calls (CONFIG_SECCOMP_FILTER)", nil
	}
	return "", err
}

// limit sets what the child may take at most.
func limit(memory int64) error {
	has, err := writable()
	if err != nil {
		return fmt.Errorf("find out how much memory the worker has: %w", err)
	}
	data := uint64(has + memory + overhead)
	for _, l := range []struct {
		name     string
		resource int
		max      uint64
	}{
		{"memory", unix.RLIMIT_DATA, data},
		{"core files", unix.RLIMIT_CORE, 0},
		{"files to write", unix.RLIMIT_FSIZE, 0},
		{"open files", unix.RLIMIT_NOFILE, maxFiles},
	} {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.max, Max: l.max}); err != nil {
			return fmt.Errorf("limit %s to %d: %w", l.name, l.max, err)
		}
	}
	runtime.GOMAXPROCS(1)
	debug.SetMemoryLimit(memory + overhead/2)
	debug.SetMaxStack(maxStack)
	return nil
}

// writable is how many bytes of writable memory this process has, as RLIMIT_DATA counts
// them: also what the runtime has set aside without using it.
func writable() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, resident, shared, code, library, data int64
	_, err = fmt.Sscan(string(text), &size, &resident, &shared, &code, &library, &data)
	return data * int64(os.Getpagesize()), err
}

// dropRoot becomes nobody, for good.
func dropRoot() error {
	if os.Geteuid() != 0 && os.Getuid() != 0 {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("leave all groups: %w", err)
	}
	if err := syscall.Setresgid(nobody, nobody, nobody); err != nil {
		return fmt.Errorf("become group %d: %w", nobody, err)
	}
	if err := syscall.Setresuid(nobody, nobody, nobody); err != nil {
		return fmt.Errorf("become user %d: %w", nobody, err)
	}
	if syscall.Setuid(0) == nil || os.Geteuid() != nobody || os.Getegid() != nobody {
		return errors.New("it still is, or can become so again")
	}
	return nil
}

// closeFiles closes everything but the pipes and what the runtime waits for them with.
// The runtime itself keeps a file of the control group open, to follow its limit.
func closeFiles() error {
	const fds = "/proc/self/fd"
	dir, err := os.ReadDir(fds)
	if err != nil {
		return err
	}
	for _, entry := range dir {
		var fd int
		if _, err := fmt.Sscan(entry.Name(), &fd); err != nil || fd <= 2 {
			continue
		}
		what, err := os.Readlink(fds + "/" + entry.Name())
		if err != nil || strings.HasPrefix(what, "anon_inode:[event") {
			continue // the folder itself, closed by now; or the runtime's
		}
		if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EBADF) {
			return err
		}
	}
	return nil
}
