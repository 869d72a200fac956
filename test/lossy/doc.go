// Package lossy is a file system for tests that behaves like a disk on the day
// that one does not want: it remembers which bytes and names have been synced and
// forgets the others when power goes, it fails on request, runs full, hangs.
//
// A [Disk] is a file system in memory, mounted with FUSE as root. Everything that
// changes it is an [Op] of its [Trace], in order; [Materialise] lays out the disk as
// it may be after a power loss between two of them. What it promises is what POSIX
// does and no more: the content of a file is safe once the file was synced, its name
// once the folder was, a rename is seen whole or not at all; of anything else any part
// may be there, in sectors of 512 bytes or pages of 4 KiB.
//
// The process that mounts must not touch what lies on the mount through mmap, nor
// may the code under test run in it: a page fault that waits for the process's own
// goroutines stops them all. Run the program under test as a process of its own.
package lossy
