package lab

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// The main thread stands for the whole process in /proc, and the runtime cannot
// end it. It must never be the one that space.enter sends elsewhere.
func init() { runtime.LockOSThread() }

//go:embed init.sh
var initScript string

// space is a set of namespaces and the process that holds them open.
type space struct {
	flags  int // which namespaces: CLONE_NEWNET, ...
	holder *exec.Cmd
	pidfd  int
	leash  io.Closer // the holder, and with it all that is in the space, ends when this is closed
}

// openSpace makes namespaces and runs a part of init.sh in them, as the first process.
func openSpace(flags int, args ...string) (*space, error) {
	s := &space{flags: flags, pidfd: -1}
	s.holder = exec.Command("bash", append([]string{"-c", initScript, "lab-init"}, args...)...)
	s.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: uintptr(flags), PidFD: &s.pidfd, Setpgid: true}
	s.holder.Stderr = os.Stderr
	leash, err := s.holder.StdinPipe()
	if err != nil {
		return nil, err
	}
	said, err := s.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.holder.Start(); err != nil {
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	s.leash = leash
	if line, _ := bufio.NewReader(said).ReadString('\n'); line != "ready\n" {
		s.close()
		return nil, fmt.Errorf("set up namespaces: the first process said %q", line)
	}
	return s, nil
}

// pid is the holder's number as the machine sees it.
func (s *space) pid() int { return s.holder.Process.Pid }

// close ends every process of the space and waits until they are gone.
func (s *space) close() {
	s.leash.Close()
	s.holder.Wait() // the exit status of a process that is told to go says nothing
	unix.Close(s.pidfd)
}

// enter runs f on a thread of its own inside the space. A process that f starts
// is inside for good, a socket that f opens belongs to the space's network.
func (s *space) enter(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with this goroutine
		done <- s.inside(f)
	}()
	return <-done
}

func (s *space) inside(f func() error) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // another mount namespace is another root directory
		return fmt.Errorf("leave the process's root directory: %w", err)
	}
	if err := unix.Setns(s.pidfd, s.flags); err != nil {
		return fmt.Errorf("enter namespaces of process %d: %w", s.pid(), err)
	}
	return f()
}

// start is cmd.Start inside the space. The process is a child of this one all the
// same: its number, Wait and Signal are as usual.
func (s *space) start(cmd *exec.Cmd) error {
	return s.enter(cmd.Start)
}

// dial is net.Dialer.DialContext inside the space.
func (s *space) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = s.enter(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
