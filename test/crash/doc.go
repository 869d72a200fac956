// Package crash takes a peer's power away at every operation of its disk.
//
// A real orchd lives a short life on a [lossy.Disk]: it makes a cluster, creates,
// writes an inventory, takes snapshots and retires them, is stopped, killed and started
// again. Each answer that it gives is noted with the number of disk operations there
// had been by then. Afterwards the disk is laid out as a power loss before the k-th
// operation may have left it, and opened: whatever k, it opens with all that had been
// acknowledged, and with a state that the log led to; nothing else, and never a panic.
//
//	go test ./test/crash -run TestPowerLoss        # CRASH_POINTS=20000, SEED=7
//
// Other tests alter what lies in the folder, byte by byte, and let the disk hang, fail
// and run full under running peers.
package crash
