#!/bin/sh
# Makes the guest that tests and the demo boot: Debian's cloud kernel and an
# initramfs of busybox that says "orchd guest up" on its serial console, counts
# the seconds there, answers questions (ask.sh), and powers off when the ACPI
# power button is pressed.
#
#   make-guest.sh OUTDIR     puts OUTDIR/vmlinuz and OUTDIR/initrd.gz
#
# Nothing is installed: the kernel is taken out of its package. What was made
# once is kept under .cache/guest of the checkout and only copied after that.
# Needs apt-get, dpkg, busybox (busybox-static) and cpio.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/guest
out=$1
mkdir -p "$cache" "$out"

for tool in apt-get apt-cache dpkg busybox cpio gzip flock; do
	command -v "$tool" >/dev/null || { echo "$0: $tool is missing: run 'make deps'" >&2; exit 1; }
done

# The modules stand in the order in which they must be loaded: first those that a
# power button and a virtio disk need, then those of network, seed, memory and the
# device that tells the host of a crash.
modules="button evdev virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk"
later="failover net_failover virtio_net cdrom isofs virtio_balloon virtio_mem pvpanic pvpanic-mmio pvpanic-pci"

# build fills $cache.
build() {
	work=$(mktemp -d "$cache/.work.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
	[ -n "$package" ] || { echo "$0: no linux-image-cloud-amd64 to be had: run 'apt-get update'" >&2; exit 1; }
	echo "$0: taking the kernel out of $package" >&2
	chmod 0755 "$work"
	(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package" >&2)
	dpkg -x "$work"/linux-image-*.deb "$work/package"

	root=$work/root
	mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/lib" "$root/modules" "$root/etc/acpi/PWRF"
	cp "$(command -v busybox)" "$root/bin/busybox"
	for applet in $(busybox --list | grep -vx busybox); do
		ln -s busybox "$root/bin/$applet"
	done
	for m in $modules $later; do
		find "$work/package" -name "$m.ko*" -exec cp {} "$root/modules/" \;
	done
	find "$root/modules" -name '*.xz' -exec xz -d {} \;
	printf '#!/bin/busybox sh\nexec /bin/busybox poweroff -f\n' >"$root/etc/acpi/PWRF/00000080"
	{
		printf '#!/bin/busybox sh\nMODULES="%s"\nLATER="%s"\n' "$modules" "$later"
		cat "$here/init.sh"
	} >"$root/init"
	cp "$here/seed.sh" "$here/ask.sh" "$root/lib/"
	chmod 0755 "$root/init" "$root/etc/acpi/PWRF/00000080"
	(cd "$root" && find . | sort | cpio --quiet -o -H newc | gzip -9) >"$work/initrd.gz"

	cp "$work"/package/boot/vmlinuz-* "$work/vmlinuz"
	chmod 0644 "$work/vmlinuz" "$work/initrd.gz"
	mv "$work/vmlinuz" "$cache/vmlinuz"
	mv "$work/initrd.gz" "$cache/initrd.gz" # last: its presence says that all is there
}

# Several tests may ask at once: one builds, the others wait.
exec 9>"$cache/.lock"
flock 9
stale() { [ ! -e "$cache/initrd.gz" ] || [ -n "$(find "$0" "$here/init.sh" "$here/seed.sh" "$here/ask.sh" -newer "$cache/initrd.gz")" ]; }
if stale; then
	(build)
fi
for f in vmlinuz initrd.gz; do
	[ "$out/$f" -ef "$cache/$f" ] || install -m 0644 "$cache/$f" "$out/$f"
done
