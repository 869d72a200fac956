package libvirt

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/vmm"
	"github.com/orchd/orchd/vmm/vmmtest"
)

const cluster = "44444444-4444-4444-8444-444444444444"

// daemon is a libvirtd with its virtlogd in namespaces of its own, so that it
// disturbs nobody, and that nothing of it is left when its first process ends.
type daemon struct {
	dir   string // what the namespace sees as /run/libvirt and so on
	guest string // folder of the guest's kernel and initrd
	uuid  string // host id

	process *os.Process // whose child is in the namespaces
	in      io.Writer
	out     *bufio.Reader
}

// first is process 1 of the namespaces. It takes commands, a line each, and says
// "done" after each. bash also reaps QEMUs that have died, which libvirtd waits for.
const first = `
set -e
mount --make-rprivate /
for part in run lib etc log cache dev; do mkdir -p "$1/$part"; done
mkdir -p /run/libvirt /var/lib/libvirt /etc/libvirt /var/log/libvirt /var/cache/libvirt
mount --bind "$1/run" /run/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/log" /var/log/libvirt
mount --bind "$1/cache" /var/cache/libvirt
# A /dev without kvm: where it is there and does not work, libvirtd asks QEMU anew about
# it for every domain, which takes seconds each time.
mount -t tmpfs -o mode=755 none "$1/dev"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$1/dev"
mkdir "$1/dev/pts" "$1/dev/shm" "$1/dev/net"
[ ! -e /dev/net/tun ] || cp -a /dev/net/tun "$1/dev/net/"
ip link set lo up
mount -t devpts -o newinstance,mode=620,ptmxmode=666 none "$1/dev/pts"
mount -t tmpfs none "$1/dev/shm"
ln -s pts/ptmx "$1/dev/ptmx"
ln -s /proc/self/fd "$1/dev/fd"
umount --recursive --lazy /dev
mount --move "$1/dev" /dev
printf 'host_uuid = "%s"\nauth_unix_rw = "none"\nunix_sock_group = "root"\n' "$2" >/etc/libvirt/libvirtd.conf
printf 'stdio_handler = "logd"\n' >/etc/libvirt/qemu.conf
pidfile=/run/libvirt/libvirtd.pid
start() { libvirtd -d -p $pidfile; }
virtlogd -d -p /run/libvirt/virtlogd.pid
start
echo done
while read -r command argument; do
	case $command in
	kill) kill -KILL "$(cat $pidfile)"; rm -f $pidfile ;;
	stop) kill -STOP "$(cat $pidfile)" ;;
	continue) kill -CONT "$(cat $pidfile)" ;;
	start) start ;;
	hide) mount --bind /bin/false "$(realpath "$(command -v "$argument")")" ;;
	show) umount "$(realpath "$(command -v "$argument")")" ;;
	small) # a file system of its own, too small for the disk in it
		mkdir -p "$argument" && mount -t tmpfs -o size=2M,mode=755 none "$argument"
		qemu-img create -q -f qcow2 "$argument/disk" 1G
		;;
	enlarge) mount -o remount,size=100M "$argument" ;;
	bridge) ip link add "$argument" type bridge && ip link set "$argument" up ;;
	killqemu)
		qemu=$(cat "/run/libvirt/qemu/$argument.pid")
		kill -KILL "$qemu"
		while [ -e "/proc/$qemu" ]; do sleep 0.01; done # until it is buried, its monitor may still answer a libvirtd
		;;
	esac
	echo done
done
`

// startDaemon fails where libvirt is missing, unless ORCHD_TEST_WITHOUT_LIBVIRT=1 says that this is known.
func startDaemon(t *testing.T) *daemon {
	t.Helper()
	if missing := missing(); missing != "" {
		if os.Getenv("ORCHD_TEST_WITHOUT_LIBVIRT") == "1" {
			t.Skipf("NOT TESTED: no real virtual machine was made: %s", missing)
		}
		t.Fatalf("%s (to leave these tests out, set ORCHD_TEST_WITHOUT_LIBVIRT=1)", missing)
	}
	dir, err := os.MkdirTemp("", "vmm")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, os.Chmod(dir, 0o755)) // QEMU's own user walks through it
	d := &daemon{dir: dir, guest: filepath.Join(dir, "guest"), uuid: uuid.NewString()}
	out, err := exec.Command("../../test/guest/make-guest.sh", d.guest).CombinedOutput()
	if err != nil {
		t.Fatalf("make the guest: %v\n%s", err, out)
	}
	d.launch(t)
	return d
}

func missing() string {
	if os.Geteuid() != 0 {
		return "real virtual machines are tested as root only"
	}
	for _, program := range []string{"libvirtd", "virtlogd", "qemu-system-x86_64", "qemu-img", "unshare", "nsenter", "prlimit", "bash", "ip", "dnsmasq", "ebtables", "busybox", "cpio"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is missing: run 'make deps'"
		}
	}
	return ""
}

func (d *daemon) launch(t *testing.T) {
	t.Helper()
	c := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", first, "bash", d.dir, d.uuid)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	check(t, err)
	out, err := c.StdoutPipe()
	check(t, err)
	check(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	d.process = c.Process
	d.in, d.out = in, bufio.NewReader(out)
	d.await(t)
}

// tell gives the first process a command and waits until it is done.
func (d *daemon) tell(t *testing.T, command string) {
	t.Helper()
	_, err := fmt.Fprintln(d.in, command)
	check(t, err)
	d.await(t)
}

func (d *daemon) await(t *testing.T) {
	t.Helper()
	line, err := d.out.ReadString('\n')
	if err != nil || line != "done\n" {
		t.Fatalf("the daemon's first process: got %q, %v; want done\n%s", line, err, d.logs())
	}
}

func (d *daemon) logs() string {
	text, _ := os.ReadFile(filepath.Join(d.dir, "log", "libvirtd.log"))
	return string(text)
}

func (d *daemon) uri(hypervisor string) string {
	return hypervisor + "?socket=" + filepath.Join(d.dir, "run", "libvirt-sock")
}

func (d *daemon) disks() string { return filepath.Join(d.dir, "disks") }

// driver is a new driver of this daemon, for qemu:///system or test:///default.
func (d *daemon) driver(t *testing.T, hypervisor string) *Driver {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	driver, err := New(Config{URI: d.uri(hypervisor), Cluster: cluster, Disks: d.disks(), VirtType: VirtQEMU}, log)
	check(t, err)
	t.Cleanup(func() { check(t, driver.Close()) })
	return driver
}

// host is the daemon as the shared test wants it.
func (d *daemon) host(t *testing.T, hypervisor string) vmmtest.Host {
	driver, rival := d.driver(t, hypervisor), d.driver(t, hypervisor)
	rival.cfg.Cluster = otherCluster
	return vmmtest.Host{
		Driver:        driver,
		Rival:         rival,
		Cluster:       cluster,
		PlantStranger: func(t *testing.T) { plantStranger(t, d, hypervisor) },
		Files:         d.files,
		Booted:        func(t *testing.T, b vmm.Build) { d.awaitConsole(t, b, "orchd guest up") },
		Restart:       func(t *testing.T) { d.tell(t, "kill"); d.tell(t, "start") },
	}
}

// kernel is the test guest as an image.
func (d *daemon) kernel() *api.Image {
	return &api.Image{Name: "guest", Kind: api.ImageKernel, Kernel: filepath.Join(d.guest, "vmlinuz"),
		Initrd: filepath.Join(d.guest, "initrd.gz"), Cmdline: "console=ttyS0 quiet panic=-1 no_timer_check"} // a busy host's clock is not to be judged
}

func (d *daemon) files(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(d.disks())
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// awaitConsole waits until the guest has said that: two seconds, or many on a busy machine.
func (d *daemon) awaitConsole(t *testing.T, b vmm.Build, want string) {
	t.Helper()
	said := func() error {
		text, err := os.ReadFile(filepath.Join(d.disks(), vmm.ConsoleName(b.Mark.VM)))
		if err != nil || !strings.Contains(string(text), want) {
			return fmt.Errorf("console: got %q, %v; want %q in it", text, err, want)
		}
		return nil
	}
	for began := time.Now(); said() != nil && time.Since(began) < bootLimit; {
		time.Sleep(50 * time.Millisecond) // between two looks, not instead of one
	}
	check(t, said())
}

const bootLimit = 3 * time.Minute

// ask asks a guest over its console.
func (d *daemon) ask(t *testing.T, b vmm.Build, command string) string {
	t.Helper()
	c, err := d.driver(t, string(golibvirt.QEMUSystem)).Console(t.Context(), b.Mark.VM)
	check(t, err)
	defer c.Close()
	s := guest.Talk(c)
	check(t, s.AwaitReady(bootLimit))
	answer, err := s.Ask(command)
	check(t, err)
	return answer
}

// plantStranger defines the same small domain for another cluster, which is as good as none.
func plantStranger(t *testing.T, d *daemon, hypervisor string) {
	t.Helper()
	stranger := d.driver(t, hypervisor)
	stranger.cfg.Cluster = otherCluster
	b := vmmtest.Host{Cluster: stranger.cfg.Cluster}.NewBuild()
	check(t, stranger.Define(t.Context(), b))
	t.Cleanup(func() { vmmtest.Remove(t, vmmtest.Host{Driver: stranger}, b) })
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
