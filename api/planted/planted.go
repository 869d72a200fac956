// Package planted puts known bugs into orchd, so that the tools that look for
// bugs can be looked at themselves: a simulator or a checker that does not find
// them is not one.
//
// It is off unless the program is built with the tag planted. Without the tag Is
// is a constant false: the compiler drops each hook, and neither the names of the
// bugs nor the environment variable are in the program. With it, one bug at a time
// is in force: the one that ORCHD_PLANTED names when the program starts (any other
// name is a panic), or the one that a test plants.
//
//	go test -tags planted -run TestPlanted ./fsm ./cluster ./snapshot ./api/server
//	go build -tags planted -o orchd-planted ./cmd/orchd && ORCHD_PLANTED=TokenTwice ./orchd-planted run
//
// A hook is one if where the bug would be made, with a comment that says what it
// breaks. Beside it stands a TestPlantedHook of that name, which shows that the hook
// still changes what the product does.
package planted

// Bug is one of the bugs, by name.
type Bug string

// The bugs. What each of them breaks must be noticed by a simulated or a real
// cluster under faults, within a few seeds.
const (
	// VerifyLeaderReads: raft's VerifyLeader alone is taken for the proof that a read is the newest.
	VerifyLeaderReads Bug = "VerifyLeaderReads"
	// AckBeforeCommit: a write is answered when the leader has handed it to raft.
	AckBeforeCommit Bug = "AckBeforeCommit"
	// EdgeIdempotency: an Idempotency-Key is remembered in the memory of the asked peer, and not in the tables.
	EdgeIdempotency Bug = "EdgeIdempotency"
	// OwnerFromGossip: whoever gossip ranked first becomes the owner, whatever is reserved on it.
	OwnerFromGossip Bug = "OwnerFromGossip"
	// EpochUnchecked: a peer may begin, report and bury a VM at an epoch that is over.
	EpochUnchecked Bug = "EpochUnchecked"
	// SnapshotUnsynced: a snapshot is not on disk when it is said to be.
	SnapshotUnsynced Bug = "SnapshotUnsynced"
	// ChecksumSkipped: neither the frame of a log entry nor a snapshot is compared with its sums.
	ChecksumSkipped Bug = "ChecksumSkipped"
	// ClockInApply: the time of an entry is that of the peer that applies it.
	ClockInApply Bug = "ClockInApply"
	// MapOrderHash: rows are hashed with their maps in whatever order they come.
	MapOrderHash Bug = "MapOrderHash"
	// EarlyFree: what a VM holds is free as soon as its deletion is asked for, while its guest still runs.
	EarlyFree Bug = "EarlyFree"
	// EventTwice: a client that comes back is sent its last event once more.
	EventTwice Bug = "EventTwice"
	// TokenTwice: a join token is good for twice its uses.
	TokenTwice Bug = "TokenTwice"
)

// Bugs lists them all, in the order in which they stand above.
func Bugs() []Bug {
	return []Bug{VerifyLeaderReads, AckBeforeCommit, EdgeIdempotency, OwnerFromGossip, EpochUnchecked, SnapshotUnsynced,
		ChecksumSkipped, ClockInApply, MapOrderHash, EarlyFree, EventTwice, TokenTwice}
}

// Variable is the environment variable that names the bug in force, where there is one.
const Variable = "ORCHD_PLANTED"

// LevelVariable is the environment variable that makes a program play an older release,
// one that knows no higher behaviour level than that. It is no bug: tests of mixed
// releases need a program that knows less.
const LevelVariable = "ORCHD_PLANTED_LEVEL"
