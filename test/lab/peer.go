package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// startLimit is how long orchd may take until it is ready.
const startLimit = 30 * time.Second

// Init makes the host the first peer of a new cluster and waits until it is ready.
func (h *Host) Init(args ...string) {
	h.t.Helper()
	h.serve(append([]string{"init"}, args...)...)
	h.AwaitReady()
}

// Join adds the host to the cluster that from is in, with a fresh token, and waits
// until it is ready.
func (h *Host) Join(from *Host) {
	h.t.Helper()
	h.JoinWith(from.JoinLine())
}

// JoinWith is Join with what a JoinLine gave.
func (h *Host) JoinWith(line []string) {
	h.t.Helper()
	h.serve(line...)
	h.AwaitReady()
}

// JoinLine makes a token and gives the arguments of orchd that use it up:
// join ADDR --token TOKEN.
func (h *Host) JoinLine() []string {
	h.t.Helper()
	out := h.CLI("token", "create", "--role", "peer", "--ttl", "1h")
	_, line, found := strings.Cut(out, "orchd join ")
	if !found {
		h.t.Fatalf("token create: got %q, want a line with orchd join", out)
	}
	line, _, _ = strings.Cut(line, "\n")
	return append([]string{"join"}, strings.Fields(line)...)
}

// Start starts orchd on a host that is enrolled, with some more variables in its
// environment. It does not wait: without the others a peer is not ready.
func (h *Host) Start(environ ...string) {
	h.t.Helper()
	h.spawnDaemon(environ, "serve")
}

func (h *Host) serve(args ...string) {
	h.t.Helper()
	h.spawnDaemon(nil, args...)
}

func (h *Host) spawnDaemon(environ []string, args ...string) {
	h.t.Helper()
	if h.orchd.running() {
		h.t.Fatalf("%s: orchd runs already", h.Name)
	}
	cmd := h.daemon(args...)
	cmd.Env = append(cmd.Env, environ...)
	p, err := h.spawn(filepath.Join(h.dir, "orchd.log"), cmd)
	if err != nil {
		h.t.Fatalf("%s: start orchd: %v", h.Name, err)
	}
	h.orchd = p
}

// daemon is orchd, under whatever the lab runs it under.
func (h *Host) daemon(args ...string) *exec.Cmd {
	line := slices.Concat(h.lab.under, []string{h.lab.binary}, args)
	return h.command(context.Background(), line[0], line[1:]...)
}

// AwaitReady waits until orchd says that it is ready.
func (h *Host) AwaitReady() {
	h.t.Helper()
	Eventually(h.t, startLimit, h.ready)
}

func (h *Host) ready() error {
	if !h.orchd.running() {
		return Hopeless("%s: orchd has ended:\n%s", h.Name, tail(h.Log(), 20))
	}
	client, err := h.HTTP("")
	if err != nil {
		return fmt.Errorf("%s: orchd is not ready: %w", h.Name, err)
	}
	defer client.CloseIdleConnections()
	client.Timeout = 2 * time.Second
	answer, err := client.Get(h.URL() + "/readyz")
	if err != nil {
		return fmt.Errorf("%s: orchd is not ready: %w", h.Name, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: orchd is not ready: %s %s", h.Name, answer.Status, why)
	}
	return nil
}

// Running tells whether orchd runs; a paused one does.
func (h *Host) Running() bool { return h.orchd.running() }

// PID is orchd's process, as the machine numbers it; 0 before the first start.
func (h *Host) PID() int {
	if h.orchd == nil {
		return 0
	}
	return h.orchd.cmd.Process.Pid
}

// Log is the file with all that orchd said.
func (h *Host) Log() string { return filepath.Join(h.dir, "orchd.log") }

// Kill ends orchd with SIGKILL. Guests and libvirtd go on.
func (h *Host) Kill() { h.orchd.kill() }

// Pause stops orchd with SIGSTOP: its connections stay, it answers nothing.
func (h *Host) Pause() { h.orchd.signal(syscall.SIGSTOP) }

// Resume lets a paused orchd go on.
func (h *Host) Resume() { h.orchd.signal(syscall.SIGCONT) }

// Stop asks orchd to end with SIGTERM and waits until it has.
func (h *Host) Stop() {
	h.t.Helper()
	if !h.orchd.running() {
		return
	}
	h.orchd.signal(syscall.SIGTERM)
	select {
	case <-h.orchd.done:
	case <-time.After(startLimit):
		h.t.Fatalf("%s: orchd did not end within %v of SIGTERM", h.Name, startLimit)
	}
}
