# What the guest answers to on its serial console, one command a line. A line that
# begins with @ID is asked by a program: each line of its answer then begins with
# "orchd ID| ", and the last one is "orchd ID= STATUS".

answer() {
	while :; do
		read -r first rest || { sleep 1; continue; }
		case $first in
		'') ;;
		@*)
			id=${first#@}
			said=$(obey $rest 2>&1)
			status=$?
			[ -z "$said" ] || echo "$said" | sed "s/^/orchd $id| /"
			echo "orchd $id= $status"
			;;
		*) obey $first $rest ;;
		esac
	done
}

obey() {
	verb=$1
	shift
	case $verb in
	hello) echo "orchd guest" ;;
	cpus) grep -c ^processor /proc/cpuinfo ;;
	mem) sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo ;; # in KiB
	ip) ip -o address show dev eth0 | sed -n 's/.*inet6\? \([^ ]*\).* scope global.*/\1/p' ;;
	mac) cat /sys/class/net/eth0/address ;;
	ping) ping -c 1 -W 2 "$1" >/dev/null ;;
	hostname) hostname ;;
	seed) cat "/seed/$1" ;;
	hostkey) host_key ;;
	cmdline) cat /proc/cmdline ;;
	boot) cat /proc/sys/kernel/random/boot_id ;; # another one after each start
	disk) echo $(($(cat "/sys/block/$(basename "$(disk)")/size") * 512)) ;; # in bytes
	write) data && file=/data/$1 && shift && echo "$*" >"$file" && sync ;;
	read) data && cat "/data/$1" ;;
	sync) sync ;;
	poweroff) poweroff -f ;;
	reboot) reboot -f ;;
	crash) echo c >/proc/sysrq-trigger ;;
	*)
		echo "no such command: $verb"
		return 2
		;;
	esac
}

# disk is the first disk that is no seed.
disk() {
	for d in /dev/vd?; do
		[ ! -b "$d" ] || is_iso "$d" || { echo "$d"; return; }
	done
	return 1
}

# data mounts the disk, or its first partition, at /data. It is given a file system if
# it is blank, and left alone if it has anything else than one.
data() {
	mountpoint /data && return
	d=$(disk) || { echo "no disk"; return 1; }
	[ "$(head -c 65536 "$d" | tr -d '\0' | wc -c)" -gt 0 ] || mke2fs "$d" >/dev/null || return 1
	[ ! -b "${d}1" ] || d=${d}1
	mkdir -p /data && mount -t ext4 "$d" /data
}

mountpoint() { grep -q " $1 " /proc/mounts; }
