# The first process of a space of the lab:
#
#   host NAME DIR PATH...   a host: own mounts, where DIR/PATH stands in for /PATH
#   switch ADDRESS/BITS     the network between the hosts: a bridge
#
# It says "ready" and then lives until its standard input ends, that is, until the
# lab's process is gone. As process 1 of a host it also buries what daemons leave.
set -eu
# own_dev DIR makes a /dev without kvm. Where libvirt's user may not open /dev/kvm,
# libvirtd takes what it knows of QEMU for outdated at each look: 20 s for a guest.
own_dev() {
	mkdir "$1"
	mount -t tmpfs -o mode=0755 tmpfs "$1"
	cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/net /dev/fd /dev/std* "$1"
	mkdir -m 1777 "$1/shm" "$1/pts"
	mount -t devpts -o ptmxmode=0666 devpts "$1/pts"
	ln -s pts/ptmx "$1/ptmx"
	mount --move "$1" /dev
}

case $1 in
host)
	name=$2 dir=$3
	shift 3
	mount --make-rprivate /
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t tmpfs -o mode=0755 tmpfs /run
	own_dev "$dir/dev"
	for path; do mount --bind "$dir/$path" "/$path"; done
	hostname "$name"
	;;
switch)
	ip link add br0 type bridge
	ip address add "$2" dev br0
	ip link set br0 up
	;;
esac
ip link set lo up
echo ready
while read -r _; do :; done
