#!/bin/bash
# Installs what tests and the demo need on Debian, if anything is missing, and
# makes the small guest that they boot. Without root it says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
	libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils # hosts and guests
	iproute2 iptables dnsmasq-base procps                            # networks between hosts
	busybox-static cpio xz-utils                                     # the small guest
	genisoimage                                                      # another program reads the seeds of guests
	mmdebstrap e2fsprogs fdisk grub-pc-bin grub-common               # the Debian disk
	openssh-client                                                   # who logs into it
	strace                                                           # a test counts fdatasync
	gcc g++ libc6-dev                                                # the SQL engine is C++
)

missing=()
for p in "${packages[@]}"; do
	status=$(dpkg-query --show --showformat='${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$p")
done
guest=.cache/guest/initrd.gz

if [ $(id -u) -ne 0 ]; then
	echo "deps: this is not root: no libvirt, no network of its own for each host; what needs them is left out" >&2
	[ ${#missing[@]} -eq 0 ] || echo "deps: missing packages: ${missing[*]} (as root, make deps installs them)" >&2
	exit 0
fi

if [ ${#missing[@]} -gt 0 ] || [ ! -e $guest ]; then
	apt-get -q update # also for the guest's kernel, which is only downloaded
fi
if [ ${#missing[@]} -gt 0 ]; then
	echo "deps: installing ${missing[*]}"
	DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"
fi
test/guest/make-guest.sh .cache/guest
