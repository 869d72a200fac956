#!/bin/bash
# Makes a disk with Debian on it, as users boot one: it starts by itself from a
# BIOS, has Debian's own kernel, systemd, netplan, OpenSSH and cloud-init, and
# takes hostname, address and keys from a NoCloud seed.
#
#   make-debian.sh OUTDIR     puts OUTDIR/debian.qcow2
#
# Packages come from where this machine's apt gets its Debian. It takes one to two
# minutes; what was made once is kept under .cache/guest/debian of the checkout.
# Needs root, mmdebstrap, e2fsprogs, fdisk, grub-pc-bin and qemu-utils.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/guest/debian
out=$1
. "$here/bootable.sh"
mkdir -p "$cache" "$out"

command -v mmdebstrap >/dev/null || { echo "$0: mmdebstrap is missing: run 'make deps'" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "$0: mmdebstrap needs root here: run it with sudo" >&2; exit 1; }

packages=(
	systemd-sysv udev dbus netplan.io iproute2 sudo # a system with a network
	cloud-init cloud-guest-utils openssh-server     # that is told who it is
	linux-image-cloud-amd64 initramfs-tools zstd
)

# sources are the lines of apt for what this machine gets from Debian.
sources() {
	apt-get indextargets --format '$(ORIGIN) deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		sed -n 's/^Debian //p' | grep -E ' (main|non-free-firmware)$' | sort -u
}

# settings are what makes it quick to build and to boot under software emulation;
# nothing of them concerns what cloud-init does with a seed but where it looks.
settings() {
	local root=$1
	mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/cloud/cloud.cfg.d"
	printf 'virtio_pci\nvirtio_blk\next4\n' >>"$root/etc/initramfs-tools/modules"
	printf 'MODULES=list\n' >"$root/etc/initramfs-tools/conf.d/small"
	cat >"$root/etc/cloud/cloud.cfg.d/90-guest.cfg" <<-END
		datasource_list: [NoCloud, None]
		ssh_genkeytypes: [ecdsa, ed25519]
		apt: {preserve_sources_list: true}
		locale: "false"
		grub_dpkg: {enabled: false}
		manage_etc_hosts: true
	END
}

# build_root fills a folder with the system.
build_root() {
	local root=$1 setup=$work/setup
	settings "$setup"
	sources | mmdebstrap --mode=root --variant=minbase --quiet \
		--include="$(IFS=,; echo "${packages[*]}")" \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--essential-hook="copy-in $setup/etc /" \
		--customize-hook='rm -f "$1"/etc/ssh/ssh_host_*' \
		--customize-hook='echo "/dev/vda1 / ext4 defaults 0 0" >"$1/etc/fstab"' \
		--customize-hook='truncate -s 0 "$1/etc/machine-id"' \
		--customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"' \
		--customize-hook='for u in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service; do ln -sf /dev/null "$1/etc/systemd/system/$u"; done' \
		"$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" -
}

build() {
	work=$(mktemp -d "$cache/.work.XXXXXX")
	trap 'rm -rf --one-file-system "$work"' EXIT
	chmod 0755 "$work"
	echo "$0: making a Debian disk; this takes a minute or two" >&2
	SECONDS=0
	build_root "$work/root"
	bootable "$work/root" 1024 /vmlinuz /initrd.img 'root=/dev/vda1 ro console=tty0 console=ttyS0 quiet' "$work" "$work/debian.qcow2"
	mv "$work/debian.qcow2" "$cache/debian.qcow2"
	echo "$0: made in $SECONDS s, $(du -h "$cache/debian.qcow2" | cut -f1)" >&2
}

# Several tests may ask at once: one builds, the others wait.
exec 9>"$cache/.lock"
flock 9
if [ ! -e "$cache/debian.qcow2" ] || [ "$0" -nt "$cache/debian.qcow2" ]; then
	(build)
fi
[ "$out" -ef "$cache" ] || install -m 0644 "$cache/debian.qcow2" "$out/debian.qcow2"
