package worker

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// systemCalls are all that the Go runtime and wazero need once a child runs, for the
// pipes, memory, threads and time. None of them names a file, a socket or a process.
var systemCalls = append([]uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FCNTL,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MREMAP, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_SCHED_YIELD,
	unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETRANDOM, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_RESTART_SYSCALL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_PRCTL,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER,
}, systemCallsOfArch...)

// Where the kernel puts what a filter looks at (struct seccomp_data), little-endian.
const (
	offsetNr       = 0
	offsetArch     = 4
	offsetFirstArg = 16 // its low half
)

// filterSystemCalls lets all threads make only systemCalls, start threads, and signal
// this process. Anything else fails with EPERM.
func filterSystemCalls() error {
	program := filter(uint32(os.Getpid()))
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	failed, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("filter system calls: %w", errno)
	}
	if failed != 0 {
		return fmt.Errorf("filter system calls: thread %d does not take it", failed)
	}
	return nil
}

// filter is the program that the kernel runs for each system call.
func filter(pid uint32) []unix.SockFilter {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		anyBit = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	allow := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}
	refuse := func(errno uint32) unix.SockFilter {
		return unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | errno}
	}
	f := []unix.SockFilter{
		{Code: load, K: offsetArch},
		{Code: equal, K: auditArch, Jt: 1},
		{Code: answer, K: unix.SECCOMP_RET_KILL_PROCESS}, // numbers mean something else there
		{Code: load, K: offsetNr},
	}
	for _, nr := range systemCalls {
		f = append(f, unix.SockFilter{Code: equal, K: nr, Jf: 1}, allow)
	}
	return append(f,
		// clone3 hides its flags from filters; who is told that it is missing uses clone.
		unix.SockFilter{Code: equal, K: unix.SYS_CLONE3, Jf: 1}, refuse(uint32(unix.ENOSYS)),
		unix.SockFilter{Code: equal, K: unix.SYS_CLONE, Jf: 4},
		unix.SockFilter{Code: load, K: offsetFirstArg},
		unix.SockFilter{Code: anyBit, K: unix.CLONE_THREAD, Jf: 1}, allow, refuse(uint32(unix.EPERM)),
		unix.SockFilter{Code: equal, K: unix.SYS_TGKILL, Jf: 3},
		unix.SockFilter{Code: load, K: offsetFirstArg},
		unix.SockFilter{Code: equal, K: pid, Jf: 1}, allow,
		refuse(uint32(unix.EPERM)),
	)
}
