package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/orchd/orchd/test/lab"
)

// meddler is strace on a peer, which changes what its system calls do.
type meddler struct {
	cmd *exec.Cmd
	out string
}

// meddle makes calls of a peer fail or wait, as strace's -e inject has it, until
// stop. It returns once strace holds the peer.
func (r *run) meddle(h *lab.Host, inject string) (*meddler, error) {
	calls, _, _ := strings.Cut(inject, ":")
	m := &meddler{out: filepath.Join(r.kept, "strace-"+h.Name)}
	os.Remove(m.out)
	m.cmd = exec.Command("strace", "-f", "-o", m.out, "-e", "trace="+calls, "-e", "signal=none", "-e", "inject="+inject, "-p", strconv.Itoa(h.PID()))
	said, err := m.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	n, _ := said.Read(buf)
	go func() { // it speaks of every thread
		for {
			if _, err := said.Read(buf); err != nil {
				return
			}
		}
	}()
	if text := string(buf[:n]); !strings.Contains(text, "attached") {
		m.stop()
		return nil, fmt.Errorf("strace of %s: %s", h.Name, text)
	}
	return m, nil
}

// stop lets the peer go, and tells how many calls were meddled with.
func (m *meddler) stop() int {
	m.cmd.Process.Signal(syscall.SIGINT)
	m.cmd.Wait()
	text, err := os.ReadFile(m.out)
	if err != nil {
		return 0
	}
	return strings.Count(string(text), "(INJECTED)") + strings.Count(string(text), "(DELAYED)")
}

// endsByItself waits until a peer's process has ended without being killed.
func endsByItself(h *lab.Host, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); h.Running(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// someone is the leader, or one time in two another.
func (r *run) someone(rng *rand.Rand) *lab.Host {
	if leader, _ := r.leader(); leader != nil && rng.IntN(2) == 0 {
		return leader
	}
	return r.follower(rng)
}

// syncFails is F8: an fsync fails. The peer must end, and say why.
func syncFails(r *run, rng *rand.Rand) (string, error) {
	h := r.someone(rng)
	if h == nil {
		return "", nil
	}
	said := len(r.logOf(h))
	m, err := r.meddle(h, "fdatasync,fsync:error=EIO:when=1+")
	if err != nil {
		return "", err
	}
	ended := endsByItself(h, 10*time.Second)
	n := m.stop()
	if n == 0 {
		return "", nil
	}
	if !ended {
		return "", fmt.Errorf("%d fsyncs of %s failed, and it goes on", n, h.Name)
	}
	if text := r.logOf(h)[said:]; !strings.Contains(text, "input/output error") || !strings.Contains(text, "look at the disk") {
		return "", fmt.Errorf("an fsync of %s failed, and it ended without saying so: %s", h.Name, lastLines(h.Log(), 3))
	}
	return fmt.Sprintf("%s ended after %d failed fsyncs", h.Name, n), nil
}

// logOf is all that a peer said.
func (r *run) logOf(h *lab.Host) string {
	text, err := os.ReadFile(h.Log())
	if err != nil {
		r.t.Error(err)
	}
	return string(text)
}

// stallLimit is within how long a write must be acknowledged though the leader's disk hangs.
const stallLimit = 8 * time.Second

// diskHangs is F8: each fsync of the leader takes longer than anybody waits. Another
// must take over.
func diskHangs(r *run, rng *rand.Rand) (string, error) {
	old, term := r.leader()
	if old == nil {
		return "", nil
	}
	m, err := r.meddle(old, "fdatasync,fsync:delay_enter=9000000")
	if err != nil {
		return "", err
	}
	took, err := r.firstWrite(stallLimit+5*time.Second, r.but(old))
	now, newer := r.leaderAmong(r.but(old))
	old.Kill() // strace would wait for its delays, and a host with such a disk is rebooted
	m.stop()
	switch {
	case err != nil:
		return "", fmt.Errorf("the disk of %s, which led, hangs: %w", old.Name, err)
	case took > stallLimit:
		return "", fmt.Errorf("the disk of %s, which led, hung: the next write was acknowledged after %v, at most %v are allowed", old.Name, took, stallLimit)
	case now == nil || newer <= term:
		return "", nil
	}
	r.stalls = append(r.stalls, took)
	return fmt.Sprintf("the disk of %s hung; %s leads term %d, a write after %v", old.Name, now.Name, newer, took), nil
}

// diskSlow is F8: every fsync of some peers takes long, not for ever.
func diskSlow(r *run, rng *rand.Rand) (string, error) {
	var held []*meddler
	n := 0
	for _, h := range r.members() {
		if rng.IntN(2) == 0 {
			continue
		}
		m, err := r.meddle(h, fmt.Sprintf("fdatasync,fsync:delay_enter=%d", 20_000+rng.IntN(400_000)))
		if err != nil {
			return "", err
		}
		held = append(held, m)
	}
	time.Sleep(between(rng, 2*time.Second, 5*time.Second))
	for _, m := range held {
		n += m.stop()
	}
	if n == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d fsyncs on %d peers took long", n, len(held)), nil
}

// diskFull is F9: a peer's files cannot grow, and then they can again.
func diskFull(r *run, rng *rand.Rand) (string, error) {
	h := r.someone(rng)
	if h == nil {
		return "", nil
	}
	said := len(r.logOf(h))
	m, err := r.meddle(h, fmt.Sprintf("pwrite64,fallocate:error=ENOSPC:when=%d+", 1+rng.IntN(10)))
	if err != nil {
		return "", err
	}
	time.Sleep(between(rng, time.Second, 5*time.Second))
	n := m.stop()
	if n == 0 {
		return "", nil
	}
	how := "goes on"
	if strings.Contains(r.logOf(h)[said:], `"this peer stops"`) {
		if how = "ended"; !endsByItself(h, endLimit) {
			return "", fmt.Errorf("%s said that it stops, and runs %v later", h.Name, endLimit)
		}
	}
	return fmt.Sprintf("%d writes of %s found no room, and it %s", n, h.Name, how), nil
}
