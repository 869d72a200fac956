# The first program of the test guest. make-guest.sh puts the line with the
# interpreter and two lists of modules before it: MODULES are loaded before the
# guest says that it is up, LATER after that.
PATH=/bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
load() {
	for m; do
		[ ! -e "/modules/$m.ko" ] || insmod "/modules/$m.ko"
	done
}
load $MODULES
exec </dev/ttyS0 >/dev/ttyS0 2>&1
[ ! -e /sys/block/vda/size ] || echo "orchd guest disk vda $(cat /sys/block/vda/size) sectors"

# Whoever reads "orchd guest up" may press the power button at once: it is said
# only when somebody listens, or when there is no button.
acpid -f -l /dev/null -c /etc/acpi &
tries=100
until ls -l "/proc/$!/fd" 2>/dev/null | grep -q /dev/input || [ $tries -eq 0 ]; do
	tries=$((tries - 1))
	usleep 20000
done
[ $tries -gt 0 ] || echo "orchd guest without a power button: stop it by force"
echo "orchd guest up"
echo "orchd guest up" >/dev/tty0 # the screen has something to show

dmesg -n 1 # the kernel does not talk into answers
load $LATER
. /lib/seed.sh
. /lib/ask.sh
online() { # processors and memory that were plugged in
	for new in /sys/devices/system/cpu/cpu[0-9]*/online /sys/devices/system/memory/memory*/online; do
		[ ! -e "$new" ] || [ "$(cat "$new")" = 1 ] || echo 1 >"$new"
	done 2>/dev/null
}
tick() {
	n=0
	while :; do
		n=$((n + 1))
		echo "orchd tick $n"
		online
		sleep 1
	done
}
use_seed
echo "orchd guest ready"
tick &
answer
