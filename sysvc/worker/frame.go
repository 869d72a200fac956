package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/orchd/orchd/api"
)

// A frame is four bytes of length, big-endian, then a request or a reply as CBOR.

// The most that a frame may hold. Modules go to the child; results, and what host
// functions are asked, come from it.
const (
	maxToChild   = api.MaxModule + 1<<20
	maxFromChild = api.MaxCallResult + 256<<10
	maxCallArgs  = 8 << 20 // bytes of JSON that a call, or the answer of a host function, may hand to the child
)

// toChild is what the parent says: one of its fields.
type toChild struct {
	Run     *run     `cbor:",omitempty"`
	Answer  *answer  `cbor:",omitempty"` // to Want, Host
	Entered *entered `cbor:",omitempty"` // to Enter
}

// run asks for a call, or for the names of the functions that can be called.
type run struct {
	Program   Program
	Function  string
	Args      json.RawMessage
	Context   Context
	Functions bool   // name them; call nothing
	Millis    int64  // how long it may take
	Steps     uint64 // and how many steps
}

// answer is what came of a question to the parent.
type answer struct {
	Bytes []byte
	Error string // empty: it went well
}

// entered is who answers a call inside of the call.
type entered struct {
	Program Program
	Context Context
	Error   string
}

// fromChild is what the child says: one of its fields.
type fromChild struct {
	Ready *ready    `cbor:",omitempty"`
	Want  string    `cbor:",omitempty"` // digest of a module that the child does not have
	Host  *hostCall `cbor:",omitempty"`
	Enter *enter    `cbor:",omitempty"`
	Left  bool      `cbor:",omitempty"` // the call inside is over; nothing is answered
	Done  *done     `cbor:",omitempty"`
}

// ready is the first thing that a child says, once it has given up its rights.
type ready struct {
	Error string // why it could not; it ends then
	Note  string // what of its confinement this kernel does not have
}

type hostCall struct {
	Name string
	Args json.RawMessage
}

type enter struct {
	Service, Function string
}

// done is how the call ended.
type done struct {
	Result    json.RawMessage
	Functions []string
	Failure   *failure
}

// failure is an error on its way to the parent.
type failure struct {
	Kind  failureKind
	Error ScriptError
}

type failureKind string

const (
	failedScript   failureKind = "script"
	failedFunction failureKind = "function"
	failedDeadline failureKind = "deadline"
	failedSteps    failureKind = "steps"
	failedMemory   failureKind = "memory"
)

// sentinels are the errors that kinds of failure stand for.
var sentinels = map[failureKind]error{
	failedFunction: ErrNoFunction,
	failedDeadline: ErrDeadline,
	failedSteps:    ErrSteps,
	failedMemory:   ErrMemory,
}

// failureOf puts an error into words that cross the pipe.
func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	script := ScriptError{Msg: err.Error()}
	if s, is := errors.AsType[*ScriptError](err); is {
		script = *s
	}
	if s, is := errors.AsType[*stopped](err); is {
		script = s.script
	}
	script.Msg, script.Backtrace = cut(script.Msg), cut(script.Backtrace)
	for kind, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			return &failure{kind, script}
		}
	}
	return &failure{failedScript, script}
}

// maxErrorText is how many bytes of an error are told.
const maxErrorText = 8 << 10

func cut(text string) string {
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + " ..."
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// err is the error that a failure says.
func (f *failure) err() error {
	if f == nil {
		return nil
	}
	sentinel, is := sentinels[f.Kind]
	if !is {
		return &f.Error
	}
	if f.Error.Msg == sentinel.Error() && f.Error.At == "" {
		return sentinel
	}
	return &stopped{sentinel, f.Error}
}

// stopped is one of the sentinels, and where the script was then.
type stopped struct {
	sentinel error
	script   ScriptError
}

func (s *stopped) Error() string { return s.script.Error() }

// Unwrap gives what stopped it. That a function is not there is the script's own doing.
func (s *stopped) Unwrap() []error {
	if s.sentinel == ErrNoFunction {
		return []error{s.sentinel, &s.script}
	}
	return []error{s.sentinel}
}

// decoding refuses what no worker writes: who reads must not be made to build much more
// than was sent.
var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		MaxNestedLevels:   8,
		MaxArrayElements:  10_000,
		MaxMapPairs:       1_000,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

// errFrame is what is wrong with a frame; who sends such a thing is not to be read further.
var errFrame = errors.New("malformed frame")

// frame is a message as it goes through the pipe; at most limit bytes.
func frame(message any, limit int) ([]byte, error) {
	body, err := cbor.Marshal(message)
	if err != nil {
		return nil, err
	}
	if len(body) > limit {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", errFrame, len(body), limit)
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, len(body)+4), uint32(len(body))), body...), nil
}

// readFrame reads the next message; io.EOF where none begins any more.
func readFrame(r io.Reader, limit int, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if int64(n) > int64(limit) {
		return fmt.Errorf("%w: %d bytes, more than %d", errFrame, n, limit)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if err := decoding.Unmarshal(body, message); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}
