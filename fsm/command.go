package fsm

import (
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm/wire"
)

// Type names a command in the log. Append only: a released number is never reused.
type Type uint16

// The types of command.
const (
	initCluster    Type = 1
	createVM       Type = 2
	updateVM       Type = 3
	actOnVM        Type = 4
	beginVM        Type = 5
	reportVM       Type = 6
	buryVM         Type = 7
	sawDomain      Type = 8
	reassignVM     Type = 9
	createImage    Type = 10
	deleteImage    Type = 11
	createToken    Type = 12
	deleteToken    Type = 13
	joinPeer       Type = 14
	updatePeer     Type = 15
	setSchedulable Type = 16
	removePeer     Type = 17
	sweep          Type = 18
	mark           Type = 19

	stageChunk        Type = 20
	commitStaged      Type = 21
	createNodes       Type = 22
	replaceNode       Type = 23
	deleteNode        Type = 24
	createBMC         Type = 25
	replaceBMC        Type = 26
	deleteBMC         Type = 27
	createCollection  Type = 28
	replaceCollection Type = 29
	deleteCollection  Type = 30
	createNetwork     Type = 31
	deleteNetwork     Type = 32
	allocateAddress   Type = 33
	reveal            Type = 34
	setAuth           Type = 35
	changeMember      Type = 36

	putComponents            Type = 40
	patchComponents          Type = 41
	deleteComponents         Type = 42
	putEndpoint              Type = 43
	deleteEndpoints          Type = 44
	deleteComponentEndpoints Type = 45
	createInterface          Type = 46
	patchInterface           Type = 47
	deleteInterfaces         Type = 48

	restoreState Type = 49
	putSettings  Type = 50
	raiseLevel   Type = 51

	createAccount Type = 60
	updateAccount Type = 61
	deleteAccount Type = 62
	createSize    Type = 63
	updateSize    Type = 64
	deleteSize    Type = 65
	createSSHKey  Type = 66
	deleteSSHKey  Type = 67
	storedImage   Type = 68
	progressImage Type = 69
	exportVM      Type = 70

	vmFacts             Type = 80
	vmProgress          Type = 81
	createDiskSnapshot  Type = 82
	restoreDiskSnapshot Type = 83
	deleteDiskSnapshot  Type = 84
	reportDiskSnapshot  Type = 85
	cancelOperation     Type = 86
	adoptVM             Type = 87
	losePeer            Type = 88

	deployService      Type = 100
	moveAlias          Type = 101
	removeService      Type = 102
	deploySpell        Type = 103
	createSpell        Type = 104
	updateSpellTrigger Type = 105
	deleteSpell        Type = 106
	reportDeployment   Type = 107
	changeKV           Type = 108
	pushMail           Type = 109
	popMail            Type = 110
	claimScope         Type = 111
	runSpells          Type = 112
	createDeal         Type = 113
	updateDeal         Type = 114
	deleteDeal         Type = 115
	reportDeal         Type = 116

	renewCertificate Type = 117
	startRotation    Type = 118
	reportRotation   Type = 119
	advanceRotation  Type = 120
	resealValues     Type = 121
)

// kind is a type of command and the version of its body. Another meaning of a
// body is a new version; the old one stays as long as a log may hold it.
type kind struct {
	Type Type
	V    uint8
}

// commands is the whole protocol between peers. A command that was not there when the
// highest level before was released says since which it may be proposed.
var commands = map[kind]applier{
	{initCluster, 1}:    on(applyInitCluster),
	{createVM, 1}:       on(applyCreateVM),
	{updateVM, 1}:       on(applyUpdateVM),
	{actOnVM, 1}:        on(applyActOnVM),
	{beginVM, 1}:        on(applyBeginVM),
	{reportVM, 1}:       on(applyReportVM),
	{buryVM, 1}:         on(applyBuryVM),
	{sawDomain, 1}:      on(applySawDomain),
	{reassignVM, 1}:     on(applyReassignVM),
	{createImage, 1}:    on(applyCreateImage),
	{deleteImage, 1}:    on(applyDeleteImage),
	{createToken, 1}:    on(applyCreateToken),
	{deleteToken, 1}:    on(applyDeleteToken),
	{joinPeer, 1}:       on(applyJoinPeer),
	{updatePeer, 1}:     on(applyUpdatePeer),
	{setSchedulable, 1}: on(applySetSchedulable),
	{removePeer, 1}:     on(applyRemovePeer),
	{sweep, 1}:          on(applySweep),
	{mark, 1}:           on(applyMark),

	{stageChunk, 1}:        on(applyStageChunk),
	{createNodes, 1}:       on(applyCreateNodes),
	{replaceNode, 1}:       on(applyReplaceNode),
	{deleteNode, 1}:        on(applyDeleteNode),
	{createBMC, 1}:         on(applyCreateBMC),
	{replaceBMC, 1}:        on(applyReplaceBMC),
	{deleteBMC, 1}:         on(applyDeleteBMC),
	{createCollection, 1}:  on(applyCreateCollection),
	{replaceCollection, 1}: on(applyReplaceCollection),
	{deleteCollection, 1}:  on(applyDeleteCollection),
	{createNetwork, 1}:     on(applyCreateNetwork),
	{deleteNetwork, 1}:     on(applyDeleteNetwork),
	{allocateAddress, 1}:   on(applyAllocateAddress),
	{reveal, 1}:            on(applyReveal),
	{setAuth, 1}:           on(applySetAuth),
	{changeMember, 1}:      on(applyCollectionMember),

	{putComponents, 1}:            on(applyPutComponents),
	{patchComponents, 1}:          on(applyPatchComponents),
	{deleteComponents, 1}:         on(applyDeleteComponents),
	{putEndpoint, 1}:              on(applyPutEndpoint),
	{deleteEndpoints, 1}:          on(applyDeleteEndpoints),
	{deleteComponentEndpoints, 1}: on(applyDeleteComponentEndpoints),
	{createInterface, 1}:          on(applyCreateInterface),
	{patchInterface, 1}:           on(applyPatchInterface),
	{deleteInterfaces, 1}:         on(applyDeleteInterfaces),

	{restoreState, 1}: on(applyRestoreState),
	{putSettings, 1}:  on(applyPutSettings),
	{raiseLevel, 1}:   on(applyRaiseLevel),

	{createAccount, 1}: on(applyCreateAccount),
	{updateAccount, 1}: on(applyUpdateAccount),
	{deleteAccount, 1}: on(applyDeleteAccount),
	{createSize, 1}:    on(applyCreateSize),
	{updateSize, 1}:    on(applyUpdateSize),
	{deleteSize, 1}:    on(applyDeleteSize),
	{createSSHKey, 1}:  on(applyCreateSSHKey),
	{deleteSSHKey, 1}:  on(applyDeleteSSHKey),
	{storedImage, 1}:   on(applyStoredImage),
	{progressImage, 1}: on(applyImageProgress),
	{exportVM, 1}:      on(applyExportVM),

	{vmFacts, 1}:             on(applyVMFacts),
	{vmProgress, 1}:          on(applyVMProgress),
	{createDiskSnapshot, 1}:  on(applyCreateDiskSnapshot),
	{restoreDiskSnapshot, 1}: on(applyRestoreDiskSnapshot),
	{deleteDiskSnapshot, 1}:  on(applyDeleteDiskSnapshot),
	{reportDiskSnapshot, 1}:  on(applyReportDiskSnapshot),
	{cancelOperation, 1}:     on(applyCancelOperation),
	{adoptVM, 1}:             on(applyAdoptVM),
	{losePeer, 1}:            on(applyLosePeer),

	{deployService, 1}:      on(applyDeployService).since(LevelServices),
	{moveAlias, 1}:          on(applyMoveAlias).since(LevelServices),
	{removeService, 1}:      on(applyRemoveService).since(LevelServices),
	{deploySpell, 1}:        on(applyDeploySpell).since(LevelServices),
	{createSpell, 1}:        on(applyCreateSpell).since(LevelServices),
	{updateSpellTrigger, 1}: on(applyUpdateSpellTrigger).since(LevelServices),
	{deleteSpell, 1}:        on(applyDeleteSpell).since(LevelServices),
	{reportDeployment, 1}:   on(applyReportDeployment).since(LevelServices),
	{changeKV, 1}:           on(applyChangeKV).since(LevelServices),
	{pushMail, 1}:           on(applyPushMail).since(LevelServices),
	{popMail, 1}:            on(applyPopMail).since(LevelServices),
	{claimScope, 1}:         on(applyClaim).since(LevelServices),
	{runSpells, 1}:          on(applyRuns).since(LevelServices),
	{createDeal, 1}:         on(applyCreateDeal).since(LevelServices),
	{updateDeal, 1}:         on(applyUpdateDeal).since(LevelServices),
	{deleteDeal, 1}:         on(applyDeleteDeal).since(LevelServices),
	{reportDeal, 1}:         on(applyReportDeal).since(LevelServices),

	{renewCertificate, 1}: on(applyRenewCertificate).since(LevelKeys),
	{startRotation, 1}:    on(applyStartRotation).since(LevelKeys),
	{reportRotation, 1}:   on(applyReportRotation).since(LevelKeys),
	{advanceRotation, 1}:  on(applyAdvanceRotation).since(LevelKeys),
	{resealValues, 1}:     on(applyResealValues).since(LevelKeys),
}

// A staged command is one of the others, so it cannot stand in the literal.
func init() { commands[kind{commitStaged, 1}] = on(applyCommitStaged) }

// Meta is what the proposer decided, so that no peer has to.
type Meta struct {
	Type    Type         `cbor:"1,keyasint"`
	V       uint8        `cbor:"2,keyasint"`           // version of the body
	ID      string       `cbor:"3,keyasint"`           // random; applied once however often it is sent; the k-th object made has the id objectID(ID, k)
	Request string       `cbor:"4,keyasint,omitempty"` // the client's request id, for the record
	Actor   api.Actor    `cbor:"5,keyasint"`           // who asks; apply checks what they may
	Once    *api.OnceKey `cbor:"6,keyasint,omitempty"` // the client's Idempotency-Key
	Fence   *api.Fence   `cbor:"8,keyasint,omitempty"` // of the run of a spell that asks; 7 is the body
}

// envelope is a command as the log carries it.
type envelope struct {
	Meta
	Body rawBody `cbor:"7,keyasint"`
}

// rawBody is a command's body as it stands in the command, of which it is a part and not a
// copy: whoever has it has the command.
type rawBody []byte

func (b rawBody) MarshalCBOR() ([]byte, error)     { return b, nil }
func (b *rawBody) UnmarshalCBOR(data []byte) error { *b = data; return nil }

// applier changes the tables as a body says and gives the object it is about.
type applier struct {
	apply func(tx *Txn, body []byte) (object, error)
	check func(body []byte) error // decodes and throws away
	level uint64                  // behaviour level from which on it may be proposed; 0: always
}

// since makes a command one that is proposed once that behaviour level is in force.
func (a applier) since(level uint64) applier {
	a.level = level
	return a
}

// on decodes the body, once for all commands.
func on[T any](apply func(*Txn, T) (object, error)) applier {
	decodeBody := func(body []byte) (c T, err error) {
		if err := unmarshal(body, &c); err != nil {
			return c, fmt.Errorf("body of %s: %w", reflect.TypeFor[T](), err)
		}
		return c, nil
	}
	return applier{
		apply: func(tx *Txn, body []byte) (object, error) {
			c, err := decodeBody(body)
			if err != nil {
				panic(undecodable{err})
			}
			return apply(tx, c)
		},
		check: func(body []byte) error { _, err := decodeBody(body); return err },
	}
}

// undecodable is the panic of an entry that this program cannot read.
type undecodable struct{ error }

// encoding is deterministic CBOR (RFC 8949, core deterministic encoding): equal
// values have equal bytes, which the state hash needs.
var (
	encoding   = must(encodingOptions().EncMode())
	encodingTo = must(encodingOptions().UserBufferEncMode())
)

func encodingOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeRFC3339NanoUTC // exact; the numeric forms go through a float
	return o
}

// decoding refuses what encoding never writes.
var decoding = must(cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	IndefLength:       cbor.IndefLengthForbidden,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	MaxArrayElements:  wire.MaxElements,
	MaxMapPairs:       1 << 20,
	MaxNestedLevels:   32,
}.DecMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// decode reads a command and finds what applies it.
func decode(command []byte) (envelope, applier, error) {
	var e envelope
	if err := decoding.Unmarshal(command, &e); err != nil {
		return e, applier{}, fmt.Errorf("command does not decode: %w", err)
	}
	a, known := commands[kind{e.Type, e.V}]
	if !known || a.level > Level() {
		return e, applier{}, fmt.Errorf("command type %d version %d is unknown to this release", e.Type, e.V)
	}
	return e, a, nil
}

// encode writes a command and reads it back as every peer will: an entry that
// nobody can apply stops every peer, so it must not get into the log.
func encode(m Meta, body any) ([]byte, error) {
	command, _, err := encodeBoth(m, body)
	return command, err
}

// encodeBoth gives the command and the body in it.
func encodeBoth(m Meta, body any) (command, b []byte, err error) {
	if b, err = marshal(body); err != nil {
		return nil, nil, err
	}
	if command, err = encoding.Marshal(envelope{m, b}); err != nil {
		return nil, nil, err
	}
	_, a, err := decode(command)
	if err == nil {
		err = a.check(b)
	}
	return command, b, err
}
