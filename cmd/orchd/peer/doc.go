// Package peer puts the parts of orchd together into one running peer: the
// state machine, the cluster, the hypervisor's loop, the snapshots and the HTTP
// API. It is the one place where they meet, and it stands apart from main so
// that a test can start a peer in its own process.
//
// Init makes a cluster, Join enrols this host in one, Serve runs what either
// left in the data folder. Start reading at Open.
package peer
