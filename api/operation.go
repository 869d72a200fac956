package api

import "time"

// OpState is how far an operation is.
type OpState string

// The states of an operation.
const (
	OpPending   OpState = "pending"
	OpRunning   OpState = "running"
	OpSucceeded OpState = "succeeded"
	OpFailed    OpState = "failed"
	OpCancelled OpState = "cancelled"
)

// Done tells whether nothing more will happen.
func (s OpState) Done() bool { return s == OpSucceeded || s == OpFailed || s == OpCancelled }

// OpMode says when an operation is complete: immediate ones when they are
// answered, asynchronous ones are assigned then and go on.
type OpMode string

// The two modes.
const (
	Immediate    OpMode = "immediate"
	Asynchronous OpMode = "asynchronous"
)

// HostStatus is one host's part in an operation or in a question of capacity.
type HostStatus string

// The parts a host can have.
const (
	Assigned           HostStatus = "assigned"                   // it owns, or would own, the VM
	AssignedToOther    HostStatus = "assigned_to_other_host"     // it fitted and was not chosen
	NotApplicable      HostStatus = "not_applicable"             // it did not fit; the reason says why
	NoResponseFromHost HostStatus = "no_response_from_host"      // it is silent
	ErrorFromHost      HostStatus = "error_response_from_host"   // its last report is an error
	InvalidFromHost    HostStatus = "invalid_response_from_host" // its answer makes no sense
)

// HostPart is one host's part in an operation.
type HostPart struct {
	Peer   string     `json:"peer" doc:"The peer's name"`
	Status HostStatus `json:"status" enum:"assigned,assigned_to_other_host,not_applicable,no_response_from_host,error_response_from_host,invalid_response_from_host"`
	Reason string     `json:"reason,omitempty" doc:"Why, where the status needs one"`
}

// OpStep is one step of an operation and how long it took.
type OpStep struct {
	Name   string `json:"name"`
	TookMs int64  `json:"took_ms" doc:"Milliseconds"`
	Done   int64  `json:"done,omitempty" doc:"How far a step that is under way is, of total; bytes"`
	Total  int64  `json:"total,omitempty"`
}

// OpTarget is what an operation works on.
type OpTarget struct {
	Kind string `json:"kind" doc:"\"vm\" or \"image\""`
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Operation is work in hand: what was asked, who has which part in it, and how
// far it is. Finished ones are kept for 7 days, or as the newest 100,000.
type Operation struct {
	ID         string     `json:"id" format:"uuid"`
	Kind       string     `json:"kind" doc:"create, start, stop, force-stop, restart, pause, resume, resize, delete, snapshot, restore-snapshot, delete-snapshot; of an image: fetch, export"`
	Mode       OpMode     `json:"mode" enum:"immediate,asynchronous"`
	Target     OpTarget   `json:"target"`
	Account    string     `json:"account"`
	State      OpState    `json:"state" enum:"pending,running,succeeded,failed,cancelled"`
	Hosts      []HostPart `json:"hosts,omitempty"`
	Steps      []OpStep   `json:"steps,omitempty"`
	Actor      string     `json:"actor"`
	Error      string     `json:"error,omitempty"`
	Version    uint64     `json:"version"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt time.Time  `json:"finished_at,omitzero"`
}
