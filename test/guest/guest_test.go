package guest

import (
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// bootHere runs the guest in a QEMU of the test's own and gives its console.
func bootHere(t *testing.T, args ...string) *Shell {
	t.Helper()
	for _, needed := range []string{"qemu-system-x86_64", "busybox", "cpio", "xz"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skipf("%s is missing; install it with: sudo make deps", needed)
		}
	}
	g := Make(t)
	line := append([]string{"-accel", "tcg", "-m", "96", "-display", "none", "-nodefaults", "-serial", "stdio",
		"-kernel", g.Kernel, "-initrd", g.Initrd, "-append", "console=ttyS0"}, args...)
	cmd := exec.Command("qemu-system-x86_64", line...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	s := Talk(struct {
		io.Reader
		io.Writer
	}{out, in})
	if err := s.AwaitReady(90 * time.Second); err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t *testing.T, s *Shell, command, want string) {
	t.Helper()
	if got, err := s.Ask(command); err != nil || got != want {
		t.Errorf("%s: got %q, %v, want %q", command, got, err, want)
	}
}

// TestGuestAnswers looks at everything that other tests ask the small guest for.
func TestGuestAnswers(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 64<<20); err != nil {
		t.Fatal(err)
	}
	const mac = "52:54:00:00:00:07"
	seed := Seed(t, "web1", mac, netip.MustParsePrefix("10.9.8.7/24"), netip.MustParseAddr("10.9.8.1"))
	s := bootHere(t, "-smp", "2", "-drive", "if=virtio,format=raw,file="+disk,
		"-drive", "if=virtio,format=raw,readonly=on,file="+seed, "-nic", "hubport,hubid=0,model=virtio-net-pci,mac="+mac)
	ask(t, s, "cpus", "2")
	ask(t, s, "mac", mac)
	ask(t, s, "hostname", "web1")
	ask(t, s, "ip", "10.9.8.7/24")
	if meta, err := s.Ask("seed meta-data"); err != nil || !strings.Contains(meta, "web1") {
		t.Errorf("meta-data: got %q, %v", meta, err)
	}
	if line, err := s.Ask("hostkey"); err != nil {
		t.Error(err)
	} else if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil || key.Type() != ssh.KeyAlgoED25519 {
		t.Errorf("hostkey: got %q: %v", line, err)
	}
	ask(t, s, "disk", strconv.Itoa(64<<20))
	ask(t, s, "write a few words", "")
	ask(t, s, "read a", "few words")
	if kib, err := s.Ask("mem"); err != nil || len(kib) != 5 {
		t.Errorf("mem: got %q KiB, %v", kib, err)
	}
	if said, err := s.Ask("read none"); err == nil || !strings.Contains(said, "No such file") {
		t.Errorf("read of no file: got %q, %v, want a failure", said, err)
	}
	if _, err := s.Ask("dance"); err == nil || !strings.Contains(err.Error(), "no such command") {
		t.Errorf("an unknown command: %v", err)
	}
	if s.Tick() == 0 {
		t.Error("it has not counted")
	}
}

func TestLastTick(t *testing.T) {
	for said, want := range map[string]int{"": 0, "orchd tick 1\r\norchd tick 12\r\n[ 1.2] hm\r\norchd ti": 12, "tick 3": 0} {
		if got := LastTick(said); got != want {
			t.Errorf("%q: got %d, want %d", said, got, want)
		}
	}
}
