package api

import (
	"encoding/json"
	"time"
)

// Spell is a script that runs when its trigger fires. Peers' own spells run on their
// peer, those of the cluster on one peer at a time.
type Spell struct {
	ID        string    `json:"id" format:"uuid"`
	Scope     string    `json:"scope" doc:"cluster, or the id of a peer"`
	Alias     string    `json:"alias" doc:"Unique within its scope, also among services"`
	Package   string    `json:"package,omitempty" doc:"The package that it came with"`
	Account   string    `json:"account" doc:"In whose name it acts"`
	Script    string    `json:"script" doc:"Starlark"`
	Digest    string    `json:"digest" doc:"Of the script: SHA-256, in hex"`
	Trigger   Trigger   `json:"trigger,omitzero"`
	Declared  []string  `json:"declared,omitempty" doc:"Keys that were set when it was installed"`
	KVDigest  string    `json:"kv_digest,omitempty" doc:"Of the values that were set when it was installed"`
	Grants    Grants    `json:"grants,omitzero"`
	CallTTL   int64     `json:"call_ttl" doc:"Seconds that a run may take"`
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// SpellCreate is the body of POST /v1/spells, and what a package declares of a spell.
type SpellCreate struct {
	Alias   string                     `json:"alias" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" doc:"Not self, not spell, and no UUID"`
	Scope   string                     `json:"scope,omitempty" doc:"cluster (admins), or a peer by name or id; default: the peer that is asked"`
	Account string                     `json:"account,omitempty" doc:"In whose name it acts; default: the token's, else default"`
	Script  string                     `json:"script" maxLength:"65536" doc:"Starlark"`
	KV      map[string]json.RawMessage `json:"kv,omitempty" doc:"Values to begin with"`
	Trigger Trigger                    `json:"trigger,omitzero"`
	Grants  Grants                     `json:"grants,omitzero" doc:"What it may do; http, read beyond its account and any_account are for admins to grant"`
	CallTTL int64                      `json:"call_ttl,omitempty" minimum:"1" maximum:"3600" doc:"Seconds that a run may take; default 60"`
}

// SpellDeploy is what the deployer puts into the log to make a spell what its package
// says: made, or replaced in place, found by scope and alias.
type SpellDeploy struct {
	Package string `json:"package"`
	SpellCreate
}

// RunState is how a run ended, or that it has not.
type RunState string

// How runs end.
const (
	RunRunning     RunState = "running"
	RunSucceeded   RunState = "succeeded"
	RunFailed      RunState = "failed"
	RunInterrupted RunState = "interrupted" // its peer ended, or lost its turn, before it did
)

// Firing is what made a spell run. A spell reads it as hw_trigger.
type Firing struct {
	Kind  string          `json:"kind" enum:"clock,connect,disconnect,event,manual,retry"`
	Tick  int64           `json:"tick,omitempty" doc:"Of a clock: which, from 0"`
	Due   time.Time       `json:"due,omitzero" doc:"When it should have run"`
	Peer  string          `json:"peer,omitempty" doc:"Of connect and disconnect: who came or went"`
	Event json.RawMessage `json:"event,omitempty" doc:"Of an event: the change"`
	At    string          `json:"position,omitempty" doc:"Of an event: INDEX.N"`
}

// SpellRun is one run of a spell.
type SpellRun struct {
	Number  int64     `json:"number" doc:"From 1; a spell reads it as hw_counter"`
	Firing  Firing    `json:"firing"`
	Peer    string    `json:"peer" doc:"Id of the peer that runs it"`
	Term    uint64    `json:"term" doc:"Of its holder: what a run of an older one does is refused"`
	State   RunState  `json:"state" enum:"running,succeeded,failed,interrupted"`
	Error   string    `json:"error,omitempty"`
	BeganAt time.Time `json:"began_at"`
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// SpellStatus is what is known of a spell's runs.
type SpellStatus struct {
	Counter   int64      `json:"counter" doc:"How many runs began"`
	Succeeded int64      `json:"succeeded"`
	Failed    int64      `json:"failed"`
	Last      SpellRun   `json:"last,omitzero" doc:"The newest run"`
	Running   []SpellRun `json:"running,omitempty"`
	Disarmed  string     `json:"disarmed,omitempty" doc:"Why it does not run now, such as that its account is suspended"`
	Next      time.Time  `json:"next,omitzero" doc:"When its clock fires next"`
	Start     int64      `json:"start,omitempty" doc:"Seconds since 1970: tick 0 of its clock; one that was declared in the past begins when it was first declared"`
	Ticks     int64      `json:"ticks,omitempty" doc:"How many ticks of its clock are over: the number of the next one that can be marked"`
}

// SpellView is a spell and what is known of its runs.
type SpellView struct {
	Spell
	Status SpellStatus `json:"status"`
}

// SpellLine is a line of a spell's log, or an error of one of its runs.
type SpellLine struct {
	Seq  int64     `json:"seq" doc:"Rises with each line of the spell"`
	Run  int64     `json:"run" doc:"Number of the run"`
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Limits of what is kept of a spell or a service. They hold over restarts.
const (
	MaxMailbox     = 50       // messages
	MaxSpellErrors = 50       // runs whose errors are kept
	MaxSpellLog    = 500      // lines
	MaxScript      = 64 << 10 // bytes
	MaxModule      = 32 << 20 // bytes
	MaxKVKeys      = 10_000   // of one store
	MaxKVKey       = 256      // bytes of a key
	MaxKVValue     = 64 << 10 // bytes of a value
	MaxKVBytes     = 16 << 20 // of one store
	MaxKVList      = 10_000   // elements
	MaxLogLine     = 4 << 10  // bytes
	MaxCallResult  = 1 << 20  // bytes of JSON
)

// Spells' keys beginning with these are for others to write; see KVWriters.
const (
	PrefixHost    = "h_"  // the host
	PrefixAccount = "w_"  // the account that owns the spell
	PrefixBoth    = "hw_" // both
	KeyCounter    = "hw_counter"
	KeyTrigger    = "hw_trigger"
)

// KVKind is what a value is.
type KVKind string

// The kinds of value.
const (
	KVString KVKind = "string"
	KVU32    KVKind = "u32"
	KVList   KVKind = "list"
)

// KVEntry is a value that a spell or service keeps.
type KVEntry struct {
	Store     string    `json:"store" format:"uuid" doc:"Id of the spell, or the store of the service"`
	Key       string    `json:"key"`
	Scope     string    `json:"scope,omitempty" doc:"Of the spell or service: cluster, or the id of a peer"`
	Account   string    `json:"account"`
	Kind      KVKind    `json:"kind" enum:"string,u32,list"`
	Text      string    `json:"text,omitempty"`
	U32       uint32    `json:"u32,omitempty"`
	List      []string  `json:"list,omitempty"`
	Version   uint64    `json:"version"`
	UpdatedAt time.Time `json:"updated_at"`
}

// KVVerb is what is done to a value.
type KVVerb string

// What can be done to values.
const (
	KVSet     KVVerb = "set"     // Text
	KVSetU32  KVVerb = "set_u32" // U32
	KVAdd     KVVerb = "add_u32" // U32 is added, wrapping never: beyond 2^32-1 is an error
	KVPush    KVVerb = "push"    // Text, at the end of the list
	KVPop     KVVerb = "pop"     // drops the last element, which must be Text: who pops has read it before
	KVTake    KVVerb = "take"    // drops the element at U32, which must be Text
	KVDrop    KVVerb = "drop"    // takes all elements equal to Text out of the list
	KVField   KVVerb = "field"   // sets the field Field of the JSON object in a string to the JSON Text, atomically; Text empty: removes it
	KVRemove  KVVerb = "remove"  // the key
	KVCompare KVVerb = "compare" // changes nothing
)

// KVOp is one change of a value. The ops of a KVChange take effect together or not at
// all: one that finds something else than it was told is refused as Precondition.
type KVOp struct {
	Verb      KVVerb `json:"verb"`
	Key       string `json:"key"`
	Text      string `json:"text,omitempty"`
	U32       uint32 `json:"u32,omitempty"`
	Field     string `json:"field,omitempty"`
	IfVersion uint64 `json:"if_version,omitempty"` // the value must have this version; 0: any
	IfAbsent  bool   `json:"if_absent,omitempty"`  // there must be no value
}

// KVWriter is who changes values.
type KVWriter string

// Who changes values.
const (
	KVByHost    KVWriter = "host"
	KVByAccount KVWriter = "account" // a person, or a program with a token
	KVBySelf    KVWriter = "self"    // the spell, or the service, itself
)

// KVChange is what is done to a store at once.
type KVChange struct {
	Store string   `json:"store"`
	By    KVWriter `json:"by"`
	Ops   []KVOp   `json:"ops"`
}

// MayWrite tells whether a key of a spell can be written by whom.
func (w KVWriter) MayWrite(key string) bool {
	has := func(prefix string) bool { return len(key) >= len(prefix) && key[:len(prefix)] == prefix }
	switch {
	case key == KeyCounter || key == KeyTrigger:
		return false // kept with the runs
	case has(PrefixBoth):
		return w == KVByHost || w == KVByAccount
	case has(PrefixHost):
		return w == KVByHost
	case has(PrefixAccount):
		return w == KVByAccount
	}
	return w == KVBySelf
}

// Mail is a message in a spell's mailbox.
type Mail struct {
	Seq  int64     `json:"seq"`
	From string    `json:"from" doc:"Who put it there"`
	Text string    `json:"text" maxLength:"65536"`
	At   time.Time `json:"at"`
}

// MailCreate is the body of POST /v1/spells/{alias}/mailbox.
type MailCreate struct {
	Text string `json:"text" maxLength:"65536"`
}

// Fence is what every effect of a run carries: apply refuses it once another has the
// scope's runs in hand.
type Fence struct {
	Scope string `json:"scope"`
	Term  uint64 `json:"term"`
}

// Holder has the runs of a scope in hand, for one term.
type Holder struct {
	Scope   string    `json:"scope" doc:"cluster, or the id of a peer"`
	Peer    string    `json:"peer"`
	Life    string    `json:"life" doc:"One life of its process: what an earlier one had in hand was cut off"`
	Term    uint64    `json:"term"`
	Renewed time.Time `json:"renewed_at"`
}

// HolderLease is how long a holder has the runs of the cluster's scope after it last said so.
// A new one waits that long, and the longest time that a call may take, unless the
// old one gave them back.
const HolderLease = 10 * time.Second

// RunBegin asks for the mark of a run: after it has been applied the run is the spell's
// newest, and may begin.
type RunBegin struct {
	Spell   string `json:"spell"`   // id
	Version uint64 `json:"version"` // of the spell that the firing was worked out from
	Firing  Firing `json:"firing"`
	// Skip marks the firing as over without a run.
	Skip bool `json:"skip,omitempty"`
}

// RunEnd tells how a run ended.
type RunEnd struct {
	Spell  string      `json:"spell"`
	Number int64       `json:"number"`
	State  RunState    `json:"state"`
	Error  string      `json:"error,omitempty"`
	Log    []SpellLine `json:"log,omitempty"` // Seq is given when it is applied
}

// RunBatch is what one holder says of runs at once: at most one a second.
type RunBatch struct {
	Scope     string     `json:"scope"`
	Peer      string     `json:"peer"`
	Term      uint64     `json:"term"`
	Begin     []RunBegin `json:"begin,omitempty"`
	End       []RunEnd   `json:"end,omitempty"`
	Connected []string   `json:"connected,omitempty"` // ids of the peers that are there, when that is to be noted
	Release   bool       `json:"release,omitempty"`   // nothing is in hand any more, and another may have the scope
}
