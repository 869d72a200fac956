// Package model is a second, small and obvious state machine beside fsm.
//
// It reads the commands of the committed log by itself, says of each what must come
// of it, and keeps its own account of what may never go wrong: versions of nodes,
// owners and epochs of VMs, what hosts have promised, who holds which address,
// tokens, idempotency keys. Where a choice is free (which host gets a VM) it takes
// what the real machine chose and checks that it was allowed. Start with Apply.
package model

import (
	"bytes"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// Command is a command as it stands in the log.
type Command struct {
	Type    uint16          `cbor:"1,keyasint"`
	V       uint8           `cbor:"2,keyasint"`
	ID      string          `cbor:"3,keyasint"`
	Request string          `cbor:"4,keyasint,omitempty"`
	Actor   api.Actor       `cbor:"5,keyasint"`
	Once    *api.OnceKey    `cbor:"6,keyasint,omitempty"`
	Body    cbor.RawMessage `cbor:"7,keyasint"`
}

// Decode reads a command.
func Decode(b []byte) (c Command, err error) {
	err = cbor.Unmarshal(b, &c)
	return c, err
}

// The types of command that the model knows; it lets the others pass.
const (
	initCluster = 1
	createVM    = 2
	updateVM    = 3
	actOnVM     = 4
	beginVM     = BeginVM
	reportVM    = 6
	buryVM      = 7
	reassignVM  = 9
	createToken = 12
	joinPeer    = 14
	updatePeer  = 15
	removePeer  = 17
	createNodes = 22
	replaceNode = 23
	deleteNode  = 24
)

// BeginVM is the type of the command with which an owner claims a VM.
const BeginVM = 5

// Model is the state, as far as it is followed.
type Model struct {
	nodes   map[string]uint64 // id to version
	texts   map[string]string // id to description
	vms     map[string]*vm
	holders map[string]string // IP address to the VM that holds it
	buried  map[string]uint64 // VM to its last epoch
	owners  map[string]string // "VM epoch" to the owner
	tokens  map[string]*token
	members map[string]bool   // peers of the cluster, by id
	answers map[string]answer // of commands, by id, and of keys, by "key "+key
	now     time.Time
	faults  []string
}

// vm is a virtual machine.
type vm struct {
	owner   string
	epoch   uint64
	begun   bool
	deleted bool // it is to be torn down
	need    api.Resources
	ips     []string
}

type token struct {
	uses  int64
	used  map[string]string // public key to the peer that it became
	until time.Time
}

// answer is what became of a command.
type answer struct {
	body    []byte
	key     string
	refused string
	at      time.Time
}

// New makes a model of nothing.
func New() *Model {
	return &Model{nodes: map[string]uint64{}, texts: map[string]string{}, vms: map[string]*vm{}, holders: map[string]string{}, buried: map[string]uint64{},
		owners: map[string]string{}, tokens: map[string]*token{}, members: map[string]bool{}, answers: map[string]answer{}}
}

// Faults is what did not hold, in words.
func (m *Model) Faults() []string { return m.faults }

func (m *Model) fault(c Command, format string, args ...any) {
	m.faults = append(m.faults, fmt.Sprintf("command %s of type %d by %s: ", c.ID, c.Type, c.Actor.ID)+fmt.Sprintf(format, args...))
}

// keyLife is for how long a key is remembered.
const keyLife = 24 * time.Hour

// Apply takes the next command, what the real machine answered to it, and what its
// tables are behind it.
func (m *Model) Apply(at time.Time, c Command, got fsm.Result, is fsm.Reader) {
	if at.After(m.now) {
		m.now = at
	}
	kind := refusal(got)
	if before, again := m.answers[c.ID]; again {
		m.replayed(c, before, got)
		return
	}
	if c.Once != nil {
		before, again := m.answers["key "+c.Once.Key]
		if again && m.now.Sub(before.at) <= keyLife {
			if !bytes.Equal(before.body, c.Once.Body) {
				m.expect(c, got, api.Mismatch.Code())
				return
			}
			m.replayed(c, before, got)
			return
		}
	}
	if got.Replayed {
		m.fault(c, "it was answered as one that was done before, and was not")
		return
	}
	m.carryOut(c, got, is)
	if passing := kind == api.Unavailable.Code() || kind == api.NoCapacity.Code() || kind == api.TooMany.Code(); passing {
		return
	}
	a := answer{key: got.Key, refused: kind, at: m.now}
	m.answers[c.ID] = a
	if c.Once != nil {
		a.body = c.Once.Body
		m.answers["key "+c.Once.Key] = a
	}
}

// refusal is the code of an error; empty for none.
func refusal(r fsm.Result) string {
	if r.Err == nil {
		return ""
	}
	return r.Err.Kind.Code()
}

// replayed checks the answer to what was done before.
func (m *Model) replayed(c Command, before answer, got fsm.Result) {
	if refusal(got) != before.refused || got.Key != before.key {
		m.fault(c, "it was answered before with %q %q, and now with %q %q", before.key, before.refused, got.Key, refusal(got))
	}
}

// expect checks how a command was refused, or that it was not.
func (m *Model) expect(c Command, got fsm.Result, want ...string) bool {
	for _, w := range want {
		if refusal(got) == w {
			return w == ""
		}
	}
	m.fault(c, "it came out as %q (%v), one of %q was to be expected", refusal(got), got.Err, want)
	return refusal(got) == ""
}

// Codes of refusals.
var (
	notFound     = api.NotFound.Code()
	conflict     = api.Conflict.Code()
	precondition = api.Precondition.Code()
	forbidden    = api.Forbidden.Code()
	noCapacity   = api.NoCapacity.Code()
	unknownToken = api.Unauthenticated.Code()
)

func (m *Model) carryOut(c Command, got fsm.Result, is fsm.Reader) {
	switch c.Type {
	case createNodes, replaceNode, deleteNode:
		m.node(c, got, is)
	case createVM, actOnVM, beginVM, reportVM, buryVM, reassignVM:
		m.guest(c, got, is)
	case createToken:
		m.token(c, got)
	case initCluster, joinPeer, updatePeer, removePeer:
		m.peer(c, got)
		m.promises(c, is)
	}
}
