package history

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// Outcome is what became of an operation, as its client knows.
type Outcome string

// Outcomes.
const (
	OK      Outcome = "ok"
	Fail    Outcome = "fail"    // refused, and so without effect
	Unknown Outcome = "unknown" // no answer, or one that says so
)

// Kind says by which model an object is judged.
type Kind string

// Kinds.
const (
	Register Kind = "register" // a row with a version that counts its changes
	Machine  Kind = "vm"       // a name that at most one VM has
	Token    Kind = "token"    // a credential that one newcomer may use
)

// Verb is what an operation does.
type Verb string

// Verbs. Not every kind has all.
const (
	Read   Verb = "read"
	Create Verb = "create"
	Swap   Verb = "swap"   // replace, if the version is Want.Version; 0: any
	Delete Verb = "delete" // of a VM: from then on it may go at any time
	Gone   Verb = "gone"   // the wait for a VM's end, which has come
	Use    Verb = "use"    // of a token
)

// Reason is why an operation failed, as far as that tells something of the object.
type Reason string

// Reasons.
const (
	Nothing Reason = ""        // nothing can be concluded
	Taken   Reason = "taken"   // it is there already; a token: another used it
	Changed Reason = "changed" // it has another version
	Absent  Reason = "absent"  // it is not there
)

// Value is what an operation asks for, or saw.
type Value struct {
	Exists  bool   `json:"exists,omitempty"`
	ID      string `json:"id,omitempty"`
	Version uint64 `json:"version,omitempty"`
	Content string `json:"content,omitempty"`
}

// Operation is one thing that a client did, with all its tries.
type Operation struct {
	ID      string        `json:"id"` // the request id: no other operation has it
	Client  int           `json:"client"`
	Kind    Kind          `json:"kind"`
	Object  string        `json:"object"` // operations on one object are judged together
	Verb    Verb          `json:"verb"`
	Want    Value         `json:"want,omitzero"`
	Saw     Value         `json:"saw,omitzero"` // of a write: what the answer showed, as far as it did
	Begin   time.Duration `json:"begin"`        // since the recorder was made, by the monotonic clock
	End     time.Duration `json:"end"`          // when the client gave up, if the outcome is unknown
	Outcome Outcome       `json:"outcome"`
	Reason  Reason        `json:"reason,omitempty"`
	Peer    string        `json:"peer"`            // the last that was asked
	Index   uint64        `json:"index,omitempty"` // of the log, as the answer said; 0: it did not
	Note    string        `json:"note,omitempty"`  // for people
}

// writes tells whether the log must show the operation when it took effect. That a
// VM has gone is its owner's entry, and a join has no request id.
func (o Operation) writes() bool {
	return o.Verb != Read && o.Verb != Gone && o.Verb != Use
}

// Recorder keeps what many clients did.
type Recorder struct {
	start time.Time

	mu  sync.Mutex
	ops []Operation
}

// NewRecorder starts the clock.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Now is the time since the recorder was made.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Add keeps an operation that is over.
func (r *Recorder) Add(o Operation) {
	r.mu.Lock()
	r.ops = append(r.ops, o)
	r.mu.Unlock()
}

// Operations are all so far.
func (r *Recorder) Operations() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Operation(nil), r.ops...)
}

// Save writes operations to a file, one JSON object a line.
func Save(path string, ops []Operation) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	for _, o := range ops {
		if err := lines.Encode(o); err != nil {
			return err
		}
	}
	return w.Flush()
}
