#!/bin/bash
# Makes a disk with Debian on it, as users boot one: it starts by itself from a
# BIOS, has Debian's own kernel, systemd, netplan, OpenSSH and cloud-init, and
# takes hostname, address and keys from a NoCloud seed.
#
#   make-debian.sh OUTDIR     puts OUTDIR/debian.qcow2
#
# Packages come from where this machine's apt gets its Debian. It takes one to two
# minutes; what was made once is kept under .cache/guest/debian of the checkout.
# Needs root, mmdebstrap, e2fsprogs, fdisk, grub-pc-bin and qemu-utils; no loop
# device: the file system is written as a file, and the boot loader beside it.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/guest/debian
out=$1
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$cache" "$out"

for tool in mmdebstrap mke2fs sfdisk grub-mkimage qemu-img flock; do
	command -v "$tool" >/dev/null || { echo "$0: $tool is missing: run 'make deps'" >&2; exit 1; }
done
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
		locale: false
		grub_dpkg: {enabled: false}
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
		--customize-hook='echo "/dev/vda1 / ext4 defaults 0 1" >"$1/etc/fstab"' \
		--customize-hook='truncate -s 0 "$1/etc/machine-id"' \
		--customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"' \
		--customize-hook='for u in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service; do ln -sf /dev/null "$1/etc/systemd/system/$u"; done' \
		"$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" -
}

# build_disk puts a file system of 1 GiB and a boot loader into one file. The loader
# is GRUB with its few commands inside; the first sector loads what follows it.
build_disk() {
	local root=$1 disk=$2 start=2048 mib=1024
	mke2fs -q -t ext4 -L root -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize \
		-d "$root" "$work/root.ext4" "${mib}M" >/dev/null
	cat >"$work/load.cfg" <<-END
		set root=(hd0,msdos1)
		linux /vmlinuz root=/dev/vda1 ro console=tty0 console=ttyS0 quiet
		initrd /initrd.img
		boot
	END
	grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -c "$work/load.cfg" -o "$work/core.img" biosdisk part_msdos ext2 linux
	truncate -s "$((mib + 2))M" "$disk"
	echo "$start,$((mib * 2048)),L,*" | sfdisk --quiet "$disk"
	dd if=/usr/lib/grub/i386-pc/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
	dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
	dd if="$work/root.ext4" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
}

build() {
	work=$(mktemp -d "$cache/.work.XXXXXX")
	trap 'rm -rf --one-file-system "$work"' EXIT
	chmod 0755 "$work"
	echo "$0: making a Debian disk; this takes a minute or two" >&2
	SECONDS=0
	build_root "$work/root"
	build_disk "$work/root" "$work/disk"
	qemu-img convert -c -O qcow2 "$work/disk" "$work/debian.qcow2"
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
