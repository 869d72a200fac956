// Package libvirt runs virtual machines through the libvirtd of this host. It
// decides nothing: it is the hands of package vmm.
//
// libvirtd is spoken to over four connections, each made when it is needed and
// made anew after it was lost: one for questions, one for what changes domains,
// one for what changes disks, and one that only hears events and is pinged, so
// that a libvirtd that was restarted, killed or is stuck is noticed within eight
// seconds. Every call has
// a deadline; when one passes, its whole connection is dropped and the call's
// outcome counts as unknown.
//
// A domain is built from facts (facts.go) and typed parts only (xml.go), and read
// back before it is used (readxml.go). Its mark (mark.go) says whose it is, and what
// VM. Its disks are made through libvirt's storage pool "orchd", and everything of a
// VM on the disk is named after its id. DESIGN.md has what was tried and why things
// are as they are.
package libvirt
