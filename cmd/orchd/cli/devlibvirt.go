package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// ownLibvirt is process 1 of a peer of `orchd dev --driver libvirt`: it gives
// the peer a libvirtd that sees folders, processes and a host id of its own, for
// one libvirtd serves one peer. All of it ends with this process, guests too.
// Its arguments: a folder, a host id, and the peer's command line.
const ownLibvirt = `
set -e
mount --make-rprivate /
for folder in run/libvirt etc/libvirt var/lib/libvirt var/log/libvirt var/cache/libvirt; do
	mkdir -p "$1/$folder" "/$folder"
	mount --bind "$1/$folder" "/$folder"
done
printf 'host_uuid = "%s"\nauth_unix_rw = "none"\nunix_sock_group = "root"\n' "$2" >/etc/libvirt/libvirtd.conf
virtlogd -d -p /run/libvirt/virtlogd.pid
libvirtd -d -p /run/libvirt/libvirtd.pid
shift 2
trap : TERM # the peer gets it as well; wait for its end
"$@" &
wait $! || wait $!
`

// libvirtParts are the programs that ownLibvirt needs.
var libvirtParts = []string{"unshare", "bash", "virtlogd", "libvirtd", "qemu-system-x86_64", "qemu-img"}

// canRunLibvirt says what is missing for real guests.
func canRunLibvirt() error {
	if os.Geteuid() != 0 {
		return usagef("--driver libvirt needs root, to give each peer a libvirtd of its own")
	}
	var missing []string
	for _, program := range libvirtParts {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		return &failure{exitFailed, "--driver libvirt needs " + strings.Join(missing, ", "),
			"on Debian: apt-get install libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils"}
	}
	return nil
}

// withLibvirt is the command line that runs a peer's beside a libvirtd of its own, which keeps its state in dir.
func withLibvirt(dir string, peer []string) []string {
	shell := []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-c", ownLibvirt, "bash", filepath.Join(dir, "host"), uuid.NewString()}
	return append(shell, peer...)
}
