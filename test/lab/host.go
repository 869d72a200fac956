package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host is one host of a lab. Its methods fail the test when they cannot do what
// they say; those that return an error leave that to the caller.
type Host struct {
	Name string // h1, h2, ...; also the host's name inside
	Addr string // its address on the lab's network

	lab    *Lab
	t      T
	number int // 1, 2, ...
	dir    string
	space  *space // nil in a lab without namespaces

	orchd, libvirtd, virtlogd *process
}

// hostFlags are the namespaces of a host. A namespace of processes makes that all
// of them end with the first one.
const hostFlags = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS

// open makes the i-th host: its files, its namespaces, its wire.
func (h *Host) open(i int) error {
	h.dir, h.number = filepath.Join(h.lab.dir, h.Name), i+1
	h.Addr = fmt.Sprintf("10.77.0.%d", h.number)
	if h.lab.bare {
		h.Addr = fmt.Sprintf("127.0.%d.%d", h.lab.loop, h.number)
	}
	if err := h.writeConfig(); err != nil {
		return err
	}
	if h.lab.bare {
		return h.writeDoor("env " + strings.Join(h.environ(), " "))
	}
	if err := h.writeHosts(); err != nil {
		return err
	}
	own := []string{"etc/hosts"}
	if h.lab.driver == "libvirt" {
		own = append(own, libvirtDirs...)
		if err := h.writeLibvirtConfig(); err != nil {
			return err
		}
	}
	var err error
	if h.space, err = openSpace(hostFlags, append([]string{"host", h.Name, h.dir}, own...)...); err != nil {
		return err
	}
	if err := h.plugIn(); err != nil {
		return err
	}
	if h.lab.bridged {
		if err := h.plugInGuests(); err != nil {
			return err
		}
	}
	if h.lab.disksMiB > 0 {
		if err := h.mountDisks(); err != nil {
			return err
		}
	}
	return h.writeDoor(fmt.Sprintf("nsenter --target %d --mount --net --pid --uts env %s", h.space.pid(), strings.Join(h.environ(), " ")))
}

func (h *Host) close() {
	h.orchd.kill()
	if h.space != nil {
		h.space.close()
	}
}

// writeConfig writes orchd.toml. What a test adds may repeat nothing that stands here.
func (h *Host) writeConfig() error {
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("name = %q", h.Name),
		fmt.Sprintf("data_dir = %q", h.DataDir()),
		fmt.Sprintf("advertise = %q", h.Addr),
		fmt.Sprintf("vmm.driver = %q", h.lab.driver),
		`raft.ballast_mib = 4`,   // for a hundred hosts on one disk
		`vmm.virt_type = "qemu"`, // there may be a /dev/kvm that guests hang on
	}
	if h.lab.bare {
		for key, port := range map[string]int{"api": 7700, "raft": 7701, "gossip": 7702} {
			lines = append(lines, fmt.Sprintf("%s.listen = \"%s:%d\"", key, h.Addr, port))
		}
	}
	text := strings.Join(append(lines, h.lab.config...), "\n") + "\n"
	return os.WriteFile(filepath.Join(h.dir, "orchd.toml"), []byte(text), 0o644)
}

// writeHosts makes the host know its own name, which libvirtd and QEMU look up; no
// name server answers here, and each question to it would cost ten seconds.
func (h *Host) writeHosts() error {
	dir := filepath.Join(h.dir, "etc")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n%s %s\n", h.Addr, h.Name)
	return os.WriteFile(filepath.Join(dir, "hosts"), []byte(text), 0o644)
}

// writeDoor writes the script through which a person runs a command in the host.
func (h *Host) writeDoor(through string) error {
	return os.WriteFile(h.Door(), []byte("#!/bin/sh\nexec "+through+` "$@"`+"\n"), 0o755)
}

// Door is a program that runs its arguments in the host: DOOR virsh list.
func (h *Host) Door() string { return filepath.Join(h.lab.dir, "on-"+h.Name) }

// Dir is the host's own folder; inside and outside it has the same path.
func (h *Host) Dir() string { return h.dir }

// DataDir is orchd's data_dir.
func (h *Host) DataDir() string { return filepath.Join(h.dir, "orchd") }

// URL is where orchd's API is, for a client made by [Host.HTTP].
func (h *Host) URL() string { return "https://" + net.JoinHostPort(h.Addr, "7700") }

// environ is the environment of every process of the host. Nothing of the test's
// own goes in: orchd refuses variables that it does not know.
func (h *Host) environ() []string {
	return []string{
		"PATH=" + filepath.Dir(h.lab.binary) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + h.dir,
		"LANG=C.UTF-8",
		"ORCHD_CONFIG=" + filepath.Join(h.dir, "orchd.toml"),
	}
}

// command is a program that is to run in the host; "orchd" is the one under test.
func (h *Host) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if name == "orchd" {
		name = h.lab.binary
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = h.environ(), h.dir
	cmd.WaitDelay = time.Second                           // for output that a daemon it left behind still holds open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the lab, which then ends them all
	return cmd
}

func (h *Host) start(cmd *exec.Cmd) error {
	if h.space == nil {
		return startBound(cmd)
	}
	return h.space.start(cmd)
}

// patience is how long a command of a host may take.
const patience = 2 * time.Minute

// Output runs a command in the host and gives what it printed. The error has the
// command's own words; errors.AsType[*exec.ExitError] gives its exit code.
func (h *Host) Output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := h.command(ctx, name, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := h.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %s %s: %w: %s", h.Name, name, strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), err
}

// Run is Output for a command that must succeed.
func (h *Host) Run(name string, args ...string) string {
	h.t.Helper()
	out, err := h.Output(name, args...)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	return out
}

// CLI runs orchd as a client on the host: h.CLI("vm", "list").
func (h *Host) CLI(args ...string) string {
	h.t.Helper()
	return h.Run("orchd", args...)
}

// Virsh asks the host's libvirt.
func (h *Host) Virsh(args ...string) string {
	h.t.Helper()
	return h.Run("virsh", slices.Concat([]string{"-q", "-c", "qemu:///system"}, args)...)
}
