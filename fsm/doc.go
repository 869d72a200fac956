// Package fsm is the one place where replicated state changes: commands,
// tables, reads and placement.
//
// The Writer gives a change its id, the leader its time, the raft log carries
// it, and every peer applies it. Applying looks at the command and the tables
// and at nothing else: no clock, no random, no configuration, no disk. So the
// same log gives the same tables, and the same state hash, on every peer.
//
// To add a resource, read image.go and do the same: the table, the commands and
// what they do, the reads, the Writer's side; then a line each in commands and tables.
package fsm
