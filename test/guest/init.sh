# The first program of the test guest. make-guest.sh puts the line with the
# interpreter and MODULES before it.
PATH=/bin
busybox mount -t devtmpfs none /dev
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
for m in $MODULES; do
	[ ! -e "/modules/$m.ko" ] || busybox insmod "/modules/$m.ko"
done
exec </dev/ttyS0 >/dev/ttyS0 2>&1
[ ! -e /sys/block/vda/size ] || echo "orchd guest disk vda $(busybox cat /sys/block/vda/size) sectors"

# Whoever reads "orchd guest up" may press the power button at once: it is said
# only when somebody listens, or when there is no button.
busybox acpid -f -l /dev/null -c /etc/acpi &
tries=100
until busybox ls -l "/proc/$!/fd" 2>/dev/null | busybox grep -q /dev/input || [ $tries -eq 0 ]; do
	tries=$((tries - 1))
	busybox usleep 20000
done
[ $tries -gt 0 ] || echo "orchd guest without a power button: stop it by force"
echo "orchd guest up"
while :; do
	busybox sleep 3600
done
