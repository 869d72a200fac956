// Package lab puts several hosts on one machine, so that a test can break them.
//
// A host is a set of namespaces (mounts, network, processes, host name) with its
// own libvirtd and its own orchd, each a real process. The hosts hang on a bridge
// in a namespace of the lab; the machine's own network, its libvirtd and its files
// are never touched.
//
// What always holds: everything that a lab starts dies with it, however it ends.
// The first process of a host waits for the end of a pipe that this process holds;
// when it goes, the kernel kills every other process of the host, guests included,
// and the namespaces go with the last of them. Only a folder is left by a killed
// test, and the next lab sweeps it.
//
// Guests outlive orchd (Kill, Stop), because libvirt's QEMU processes are not its
// children; they die with the host (Reboot) and with the lab.
//
// Start with [Start]; host.go has what one can do to a host, network.go what one
// can do between two of them.
package lab
