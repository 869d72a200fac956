# A disk that boots by itself from a BIOS, written as a file: no loop device, no root.
# GRUB has its few commands inside, and the first sector loads what follows it.

PATH=$PATH:/usr/sbin:/sbin
for tool in mke2fs sfdisk grub-mkimage qemu-img; do
	command -v "$tool" >/dev/null || { echo "$0: $tool is missing: run 'make deps'" >&2; exit 1; }
done

# bootable ROOT MIB KERNEL INITRD CMDLINE WORK OUT makes OUT, a qcow2 whose one
# partition has the files of the folder ROOT, among them KERNEL and INITRD.
bootable() {
	local root=$1 mib=$2 kernel=$3 initrd=$4 cmdline=$5 work=$6 out=$7
	# Features that GRUB knows, whatever this machine's mke2fs likes.
	mke2fs -q -t ext4 -b 4096 -L root -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize \
		-d "$root" "$work/root.ext4" "${mib}M" >/dev/null
	printf 'set root=(hd0,msdos1)\nlinux %s %s\ninitrd %s\nboot\n' "$kernel" "$cmdline" "$initrd" >"$work/load.cfg"
	grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -c "$work/load.cfg" -o "$work/core.img" biosdisk part_msdos ext2 linux
	truncate -s "$((mib + 2))M" "$work/disk"
	echo "2048,$((mib * 2048)),L,*" | sfdisk --quiet "$work/disk"
	dd if=/usr/lib/grub/i386-pc/boot.img of="$work/disk" bs=440 count=1 conv=notrunc status=none
	dd if="$work/core.img" of="$work/disk" bs=512 seek=1 conv=notrunc status=none
	dd if="$work/root.ext4" of="$work/disk" bs=1M seek=1 conv=notrunc,sparse status=none
	qemu-img convert -c -O qcow2 "$work/disk" "$out"
}
