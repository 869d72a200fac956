package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/orchd/orchd/test/ports"
)

// asOrchd makes the test program be orchd: `dev` starts peers as processes of its own program.
const asOrchd = "TEST_AS_ORCHD=1"

func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_ORCHD") != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// TestDev starts two real peers, follows what is printed, and leaves nothing behind.
func TestDev(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	t.Setenv("TMPDIR", shortFolder(t))
	out, printed := io.Pipe()
	var progress bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		a := App{Stdout: printed, Stderr: &progress, Environ: append(os.Environ(), asOrchd)}
		ended <- a.Run(ctx, []string{"dev", "--peers", "2", "--base-port", strconv.Itoa(ports.Run(t, 20))})
		printed.Close()
	}()
	lines := bufio.NewScanner(out)
	envFile := ""
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		if path, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "source "); ok {
			envFile = path
		}
	}
	if envFile == "" {
		t.Fatalf("dev printed no way to reach it; exit %d: %s", <-ended, &progress)
	}
	env := environment(t, envFile)
	if r := run(t.Context(), App{Environ: env}, "vm", "create", "a", "--memory", "64MiB"); r.code != 0 || !strings.Contains(r.stdout, "running") {
		t.Errorf("create: exit %d, %q %q", r.code, r.stdout, r.stderr)
	}
	if r := run(t.Context(), App{Environ: env}, "peer", "list", "-o", "name"); r.stdout != "dev0\ndev1\n" {
		t.Errorf("peers: %q %q", r.stdout, r.stderr)
	}
	interrupt()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d: %s", code, &progress)
	}
	if _, err := os.Stat(filepath.Dir(envFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder is still there: %v", err)
	}
}

// shortFolder is a temporary folder whose path leaves room for that of a socket.
func shortFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "o")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// environment is what sourcing a file of exports gives.
func environment(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		env = append(env, strings.TrimPrefix(line, "export "))
	}
	return env
}

// TestDevPeerThatFails: dev says which peer ended and why, and ends too.
func TestDevPeerThatFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	t.Setenv("TMPDIR", shortFolder(t))
	r := run(t.Context(), App{Environ: append(os.Environ(), asOrchd)}, "dev", "--peers", "1", "--base-port", port)
	if r.code != exitFailed || !strings.Contains(r.stderr, "dev0 ended") || !strings.Contains(r.stderr, "address already in use") {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}
