# The first process of a space of the lab:
#
#   host NAME DIR PATH...   a host: own mounts, where DIR/PATH stands in for /PATH
#   switch ADDRESS/BITS     the network between the hosts: a bridge
#
# It says "ready" and then lives until its standard input ends, that is, until the
# lab's process is gone. As process 1 of a host it also buries what daemons leave.
set -eu
case $1 in
host)
	name=$2 dir=$3
	shift 3
	mount --make-rprivate /
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t tmpfs -o mode=0755 tmpfs /run
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
