// Package cluster makes n peers agree: raft, its log on disk, gossip, joining,
// certificates, leadership and forwarding.
//
// A Node carries opaque commands into one log and hands each committed one to
// its Machine, in the same order on every peer. What always holds: a command
// that Propose has answered is on the disks of a majority of the voters; after
// ReadIndex returns, the machine here holds everything that was answered before
// the call; nobody but a peer of this cluster, by certificate, roster and pinned
// key, is spoken to; and an entry that cannot be read stops this peer instead of
// being skipped. Nothing is decided by gossip.
//
// Start with Open (node.go), then Propose (propose.go) and ReadIndex (read.go).
// DESIGN.md beside this file says why it is so.
package cluster
