#!/bin/bash
# Makes a disk that boots the small guest by itself, as users' disks do: its kernel
# and initial ramdisk are on it. The guest mounts it as /data.
#
#   make-small-disk.sh OUTDIR     puts OUTDIR/small.qcow2, vmlinuz and initrd.gz
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/guest
out=$1
"$here/make-guest.sh" "$out"
. "$here/bootable.sh"

build() {
	work=$(mktemp -d "$cache/.work.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	mkdir "$work/root"
	cp "$out/vmlinuz" "$out/initrd.gz" "$work/root/"
	bootable "$work/root" 60 /vmlinuz /initrd.gz console=ttyS0 "$work" "$work/small.qcow2"
	mv "$work/small.qcow2" "$cache/small.qcow2"
}

# Several tests may ask at once: one builds, the others wait.
exec 9>"$cache/.lock"
flock 9
if [ ! -e "$cache/small.qcow2" ] || [ "$cache/initrd.gz" -nt "$cache/small.qcow2" ] || [ "$here/bootable.sh" -nt "$cache/small.qcow2" ]; then
	(build)
fi
[ "$out" -ef "$cache" ] || install -m 0644 "$cache/small.qcow2" "$out/small.qcow2"
