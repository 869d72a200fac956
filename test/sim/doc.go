// Package sim runs whole clusters in virtual time and breaks them.
//
// A cluster is made of the real parts (cmd/orchd/peer on cluster, fsm and vmm)
// inside a testing/synctest bubble; only what reaches the outside is pretended:
// the network (network.go, transport.go), the disk (disk.go), the clock (host.go)
// and the hypervisor (vmm/sim behind hypervisor.go). A seed gives the schedule of
// faults (plan.go, faults.go, harm.go, members.go) and what clients do (clients.go, desk.go); after the run the
// committed log, the clients' history and every peer's state must agree
// (verify.go, with test/model). The seed fixes the schedule, not the order in which
// goroutines run: a failure is run again with the same seed, several times.
//
// Run it:
//
//	SEED=7 HOURS=24 go test ./test/sim -run 'TestSim$' -timeout 30m   # clusters of at most half an hour, side by side
//	SEED=7 HOURS=0.1 TIMES=20 go test ./test/sim -run TestAgain -v     # one cluster of that seed, again and again
//	go test -tags planted ./test/sim -run TestPlanted -timeout 20m     # is it able to find what it looks for?
//
// Without SEED the number changes with the commit; it is printed. The trace of a run
// that failed is kept in $SIM_ARTIFACTS, or in the test's own folder of artifacts.
// An hour counts with 400 effective faults (another leader, or a host that lags or is
// down at its end) and 2,000 acknowledged writes; four hours and more with each kind of
// fault, and with snapshots that the leader sent.
//
// Not everything of a paused process can be paused: raft's own timers go on. Freezing
// holds its network, its disk, its clock, its hypervisor and what it is about to
// propose. Gossip is off: hosts are ranked as if it had said nothing. In three worlds of four
// the peers' requests to each other go without HTTP/2 and TLS (lane.go).
//
// Start with Run (run.go).
package sim
