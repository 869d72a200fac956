// Package history judges what clients saw of a cluster.
//
// Clients record every operation with its begin, its end and its outcome; the log
// of a peer, applied again, says which writes took effect, and in which order. From
// the two [Check] tells whether the cluster kept its word:
//
//   - a write that was acknowledged is in the log, once; one that was refused is not;
//   - whatever began after another operation had been answered is of its index or a later one;
//   - the operations on each object are linearizable (Herlihy and Wing 1990), which
//     porcupine decides.
//
// An operation whose outcome its client never learned is settled by the log, as
// etcd's robustness tests do it: what the log does not hold never happened; what it
// holds happened, before the first answer that shows its index or a later one.
package history
