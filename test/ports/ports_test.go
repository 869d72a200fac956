package ports

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain is also the other process of TestPortsAreTakenOnce: it names those of the ports it
// was given that it can claim, and holds them until its input ends.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_OTHER") == "" {
		os.Exit(m.Run())
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var port int
		if _, err := fmt.Sscan(in.Text(), &port); err != nil {
			panic(err)
		}
		free, err := claim(port, 1)
		fmt.Println(free, err)
	}
}

// TestPortsAreTakenOnce: by this process, and by another for as long as it lives.
func TestPortsAreTakenOnce(t *testing.T) {
	port := Run(t, 3)
	for p := port; p < port+3; p++ {
		if free, err := claim(p, 1); free || err != nil {
			t.Errorf("port %d was claimed again: %v", p, err)
		}
	}
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "TEST_AS_OTHER=1")
	questions, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(pipe)
	can := func(port int) bool {
		t.Helper()
		fmt.Fprintln(questions, port)
		answer, err := answers.ReadString('\n')
		if err != nil || !strings.HasSuffix(answer, "<nil>\n") {
			t.Fatalf("%q, %v", answer, err)
		}
		return strings.HasPrefix(answer, "true")
	}
	for p := port; p < port+3; p++ {
		if can(p) {
			t.Errorf("another process claimed port %d too", p)
		}
	}
	theirs := 0
	for theirs = first; !can(theirs); theirs++ {
	}
	if free, err := claim(theirs, 1); free || err != nil {
		t.Errorf("port %d of another process was claimed: %v", theirs, err)
	}
	questions.Close()
	if _, err := io.ReadAll(answers); err != nil {
		t.Error(err)
	}
	if err := other.Wait(); err != nil {
		t.Fatal(err)
	}
	if free, err := claim(theirs, 1); !free || err != nil {
		t.Errorf("port %d of a process that has ended cannot be claimed: %v", theirs, err)
	}
}

// TestHeardPortsAreNotFree: a listener that knows nothing of all this is in the way.
func TestHeardPortsAreNotFree(t *testing.T) {
	for network, listen := range map[string]func(address string) (io.Closer, error){
		"tcp": func(a string) (io.Closer, error) { return net.Listen("tcp", a) },
		"udp": func(a string) (io.Closer, error) { return net.ListenPacket("udp", a) },
	} {
		port := Run(t, 1)
		l, err := listen(address(port))
		if err != nil {
			t.Fatal(err)
		}
		if unheard(port) {
			t.Errorf("port %d has a listener for %s, and counts as free", port, network)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if !unheard(port) {
			t.Errorf("port %d has no listener any more, and does not count as free", port)
		}
	}
}
