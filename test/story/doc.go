// Package story tells what must hold as stories: hosts that are killed, stopped,
// cut off and rebooted, with real processes, real fsync, real TLS and, where a
// guest matters, real libvirt and QEMU. Each test reads from top to bottom.
package story
