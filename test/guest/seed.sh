# What the guest makes of its seed: a small part of what cloud-init does. The
# seed is the disk with an ISO 9660 file system, whatever it is called.

is_iso() { [ "$(dd if="$1" bs=1 skip=32769 count=5 2>/dev/null)" = CD001 ]; }

find_seed() {
	for disk in /dev/vd?; do
		[ -b "$disk" ] && is_iso "$disk" && mkdir -p /seed && mount -t iso9660 -o ro "$disk" /seed && return
	done 2>/dev/null
	return 1
}

use_seed() {
	ifconfig lo 127.0.0.1
	find_seed || return 0
	hostname "$(sed -n 's/^local-hostname: *//p' /seed/meta-data | tr -d "\"'")"
	echo "orchd guest hostname $(hostname)"
	address
	host_keys
}

# address takes the first IPv4 and the first IPv6 address with its bits, and the
# gateways, out of network-config: enough for what orchd writes.
address() {
	[ -e /seed/network-config ] && [ -e /sys/class/net/eth0 ] || return 0
	config=$(grep -vE '0\.0\.0\.0/0|::/0' /seed/network-config)
	ip link set eth0 up
	found=$(echo "$config" | grep -oE '([0-9]+\.){3}[0-9]+/[0-9]+' | head -n 1)
	found6=$(echo "$config" | grep -oiE '[0-9a-f]*:[0-9a-f:]*:[0-9a-f:]*/[0-9]+' | head -n 1)
	[ -z "$found" ] || ip address add "$found" dev eth0
	[ -z "$found6" ] || ip -6 address add "$found6" dev eth0
	for gateway in $(echo "$config" | grep -E '(via|gateway[46]?)"?:' | sed 's/.*:[ "]\+//; s/[",}].*//'); do
		ip route add default via "$gateway"
	done 2>/dev/null
	echo "orchd guest address $found $found6"
}

# host_key is as long as a real one and belongs to nobody; it is made of what the
# seed says of the instance and so stays the same.
host_key() {
	bytes=$(sha256sum </seed/meta-data | cut -c 1-64 | sed 's/../\\x&/g')
	echo "ssh-ed25519 $({ printf '\0\0\0\013ssh-ed25519\0\0\0\040' && printf "$bytes"; } | base64 -w 0)"
}

# host_keys prints it as cloud-init does.
host_keys() {
	echo "-----BEGIN SSH HOST KEY KEYS-----"
	echo "$(host_key) root@$(hostname)"
	echo "-----END SSH HOST KEY KEYS-----"
}
