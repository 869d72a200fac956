// Package ports gives tests ports on loopback that are theirs alone until their process ends,
// also while nothing listens on them: for whoever is told where to listen, or listens there
// again after it was stopped. Who can keep a listener open lets the kernel choose its port.
package ports

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Ports are given from first to last. Linux gives the ports above to the near ends of
// connections (ip_local_port_range in ip(7)), and one of those could take a port whose
// listener is down for a moment.
const first, last = 10_000, 31_999

// register is a file of which each process locks the bytes that its ports stand for. The
// kernel unlocks them when the process ends, however it ends.
const register = "/tmp/orchd-test-ports"

var (
	mu    sync.Mutex
	given = map[int]bool{} // by this process, for which its own locks are none
	file  = sync.OnceValues(openRegister)
)

// Address is HOST:PORT of a port for TCP and UDP.
func Address(t testing.TB) string {
	t.Helper()
	return address(Run(t, 1))
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func openRegister() (*os.File, error) {
	f, err := os.OpenFile(register, os.O_RDWR, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	// Not at first: where fs.protected_regular is on, O_CREAT is refused for another user's file.
	f, err = os.OpenFile(register, os.O_RDWR|os.O_CREATE, 0o666)
	if err == nil {
		err = f.Chmod(0o666) // whatever the umask is
	}
	return f, err
}

// Run claims n ports in a row, and gives the first of them.
func Run(t testing.TB, n int) int {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		from := first + rand.IntN(last-first-n+2)
		free, err := claim(from, n)
		if err != nil {
			t.Fatalf("claim ports from %d in %s: %v", from, register, err)
		}
		if free {
			return from
		}
	}
	t.Fatalf("no %d free ports in a row between %d and %d", n, first, last)
	return 0
}

// claim takes n ports, if all of them are free. Of a row in which one is not free the
// others may stay taken.
func claim(from, n int) (free bool, err error) {
	f, err := file()
	if err != nil {
		return false, err
	}
	for port := from; port < from+n; port++ {
		if given[port] {
			return false, nil
		}
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(from), Len: int64(n)}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for port := from; port < from+n; port++ {
		if given[port] = true; !unheard(port) {
			return false, nil
		}
	}
	return true, nil
}

// unheard tells whether nobody listens on a port. A program that is no test may.
func unheard(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	packets, err := net.ListenPacket("udp", address(port))
	if err == nil {
		err = packets.Close()
	}
	return errors.Join(err, l.Close()) == nil
}
