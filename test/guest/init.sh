# The first and only program of the test guest. make-guest.sh puts the line
# with the interpreter and MODULES before it.
busybox=/bin/busybox
$busybox mount -t devtmpfs none /dev
$busybox mount -t proc none /proc
$busybox mount -t sysfs none /sys
for m in $MODULES; do
	[ ! -e "/modules/$m.ko" ] || $busybox insmod "/modules/$m.ko"
done
exec </dev/ttyS0 >/dev/ttyS0 2>&1
echo "orchd guest up"
[ ! -e /sys/block/vda/size ] || echo "orchd guest disk vda $($busybox cat /sys/block/vda/size) sectors"
$busybox acpid -f -l /dev/null -c /etc/acpi
echo "orchd guest: no power button; stop it by force"
while :; do $busybox sleep 3600; done
