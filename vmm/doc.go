// Package vmm makes this host's virtual machines match what the cluster wants.
//
// A Loop reads what is wanted (Records: the tables of this peer) and what is
// there (Hypervisor: the domains that carry this cluster's mark), and plan
// compares the two. plan is pure and says, VM by VM, what to do next; the loop
// acts, reports, and looks again.
//
// What always holds: nothing is done to a VM's domain before this peer has
// committed its claim on (VM, epoch), and nothing is started, powered off or
// removed unless a linearizable read asks for the same step that the local
// tables ask for. Without quorum, or in doubt, guests stay as they are.
//
// Start with plan.go and owned.go, then loop.go. The drivers are vmm/sim and vmm/libvirt, and
// vmm/vmmtest is the one test that both must pass.
package vmm
