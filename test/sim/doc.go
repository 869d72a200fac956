// Package sim runs whole clusters in virtual time and breaks them.
//
// A cluster is made of the real parts (cmd/orchd/peer on cluster, fsm and vmm)
// inside a testing/synctest bubble; only what reaches the outside is pretended:
// the network (network.go, transport.go), the disk (disk.go), the clock (host.go)
// and the hypervisor (vmm/sim behind hypervisor.go). A seed gives the schedule of
// faults (plan.go, faults.go) and what clients do (clients.go); after the run the
// committed log, the clients' history and every peer's state must agree
// (verify.go, with test/model). The seed fixes the schedule, not the order in which
// goroutines run: a failure is run again with the same seed, several times.
//
// Start with Run (run.go).
package sim
