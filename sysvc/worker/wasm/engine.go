// Package wasm runs WebAssembly modules that speak the interface of DESIGN.md of package
// worker: JSON goes in and out through the memory of the module.
//
// Compiled modules are kept by digest; each call has an instance of its own, so that
// calls leave nothing behind for the next one. A module sees WASI preview 1 with no
// files, arguments or environment; its clock stands still, and its random bytes are always the
// same unless the call says otherwise.
package wasm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// Do does what a module asks the host for.
type Do func(name string, args json.RawMessage) (json.RawMessage, error)

// Text gives the bytes of a module by its digest.
type Text func(digest string) ([]byte, error)

// Call is one call of a function.
type Call struct {
	Name      string // of the module, for errors
	Digest    string
	Function  string
	Args      json.RawMessage
	Settings  json.RawMessage
	Caller    json.RawMessage
	Random    bool // real random bytes
	MaxResult int  // bytes of JSON
	Do        Do
	Text      Text
}

// How calls end that the module does not tell itself. The end of ctx is context.DeadlineExceeded.
var (
	ErrMemory     = errors.New("the call took more memory than it may, and was stopped")
	ErrNoFunction = errors.New("no such function")
)

const (
	page = 64 << 10
	// maxKept is how many bytes of modules are kept compiled, which takes ten times that.
	maxKept = 8 << 20
	// maxHost is how many bytes of JSON the host gives a module at once.
	maxHost = 8 << 20
)

// Engine keeps compiled modules.
type Engine struct {
	memory   int64 // bytes of each instance
	runtime  wazero.Runtime
	compiled map[string]wazero.CompiledModule // by digest
	bytes    int
}

// New makes an engine whose modules may have so many bytes of memory each. It takes
// nothing before its first call.
func New(memory int64) *Engine {
	return &Engine{memory: memory, compiled: map[string]wazero.CompiledModule{}}
}

// start makes the runtime, and what modules can import.
func (e *Engine) start(ctx context.Context) error {
	if e.runtime != nil {
		return nil
	}
	config := wazero.NewRuntimeConfig().WithCloseOnContextDone(true).WithMemoryLimitPages(uint32(e.memory / page))
	r := wazero.NewRuntimeWithConfig(ctx, config)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return errors.Join(err, r.Close(ctx))
	}
	two, one := []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, []api.ValueType{api.ValueTypeI64}
	host := r.NewHostModuleBuilder("orchd").NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostFunction), two, one).Export("host")
	if _, err := host.Instantiate(ctx); err != nil {
		return errors.Join(err, r.Close(ctx))
	}
	e.runtime = r
	return nil
}

// module gives a compiled module, compiled now if it must be.
func (e *Engine) module(ctx context.Context, c Call) (wazero.CompiledModule, error) {
	if m, is := e.compiled[c.Digest]; is {
		return m, nil
	}
	text, err := c.Text(c.Digest)
	if err != nil {
		return nil, fmt.Errorf("load module %s: %w", c.Name, err)
	}
	if e.bytes+len(text) > maxKept {
		for digest, m := range e.compiled {
			m.Close(ctx) // frees its code; it cannot fail
			delete(e.compiled, digest)
		}
		e.bytes = 0
	}
	m, err := e.runtime.CompileModule(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("compile module %s: %w", c.Name, err)
	}
	for _, name := range []string{"alloc", "call"} {
		if _, has := m.ExportedFunctions()[name]; !has {
			m.Close(ctx)
			return nil, fmt.Errorf("module %s does not export %s: see the interface in sysvc/worker/DESIGN.md", c.Name, name)
		}
	}
	e.compiled[c.Digest], e.bytes = m, e.bytes+len(text)
	return m, nil
}

// Call calls a function of a module. The result is JSON.
func (e *Engine) Call(ctx context.Context, c Call) (json.RawMessage, error) {
	if err := e.start(ctx); err != nil {
		return nil, err
	}
	compiled, err := e.module(ctx, c)
	if err != nil {
		return nil, err
	}
	i := &instance{call: c, memory: &memory{}}
	i.ctx = context.WithValue(experimental.WithMemoryAllocator(ctx, i.memory), instanceKey{}, i)
	defer i.close()
	i.module, err = e.runtime.InstantiateModule(i.ctx, compiled, i.config())
	if err != nil {
		return nil, e.explain(ctx, i, err)
	}
	result, err := i.run()
	if err != nil {
		return nil, e.explain(ctx, i, err)
	}
	return result, nil
}

type instanceKey struct{}

// instance is a module during one call.
type instance struct {
	call   Call
	ctx    context.Context
	module api.Module
	memory *memory
	stderr tail
	clock  int64 // nanoseconds; it only goes on when the module sleeps
}

// config is all that a module sees of the world.
func (i *instance) config() wazero.ModuleConfig {
	c := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").WithStderr(&i.stderr).WithStdout(&i.stderr).
		WithWalltime(func() (int64, int32) { return 0, 0 }, sys.ClockResolution(1)).
		WithNanotime(func() int64 { i.clock++; return i.clock }, sys.ClockResolution(1)).
		WithNanosleep(func(ns int64) { i.clock += max(ns, 0) })
	if i.call.Random {
		return c.WithRandSource(rand.Reader)
	}
	return c.WithRandSource(&sameBytes{})
}

func (i *instance) close() {
	if i.module != nil {
		i.module.Close(i.ctx) // an error would be that of the exit, which explain has seen
	}
	i.memory.Free()
}

// input is what a call hands to the module.
type input struct {
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args,omitempty"`
	Settings json.RawMessage `json:"settings,omitempty"`
	Caller   json.RawMessage `json:"caller,omitempty"`
}

// output is what it gives back, and what a host function gives it.
type output struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *string         `json:"error,omitempty"`
	// NoFunction: the module has no function of that name.
	NoFunction bool `json:"no_function,omitempty"`
}

func (i *instance) run() (json.RawMessage, error) {
	in, err := json.Marshal(input{i.call.Function, i.call.Args, i.call.Settings, i.call.Caller})
	if err != nil {
		return nil, err
	}
	at, err := i.put(in)
	if err != nil {
		return nil, err
	}
	packed, err := i.module.ExportedFunction("call").Call(i.ctx, uint64(at), uint64(len(in)))
	if err != nil {
		return nil, err
	}
	if len(packed) != 1 {
		return nil, errors.New("call must return one i64: address in the upper, length in the lower half")
	}
	text, err := i.get(packed[0], i.call.MaxResult+64)
	if err != nil {
		return nil, fmt.Errorf("return invalid result: %w", err)
	}
	return i.result(text)
}

// result reads what call returned.
func (i *instance) result(text []byte) (json.RawMessage, error) {
	var out output
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("return invalid result: %w", err)
	}
	switch {
	case out.NoFunction:
		return nil, fmt.Errorf("%w: %s", ErrNoFunction, i.call.Function)
	case out.Error != nil:
		return nil, errors.New(*out.Error)
	case len(out.Result) == 0:
		return json.RawMessage("null"), nil
	}
	return bytes.Clone(out.Result), nil
}

// put writes text into memory that the module allocates for it.
func (i *instance) put(text []byte) (at uint32, err error) {
	got, err := i.module.ExportedFunction("alloc").Call(i.ctx, uint64(len(text)))
	if err != nil {
		return 0, err
	}
	if len(got) != 1 {
		return 0, errors.New("alloc must return one i32: an address")
	}
	at = uint32(got[0])
	if m := i.module.Memory(); m == nil || !m.Write(at, text) {
		return 0, fmt.Errorf("alloc gave %d bytes at %d, which is not in its memory", len(text), at)
	}
	return at, nil
}

// get reads text from the memory of the module. It is valid until the module runs again.
func (i *instance) get(packed uint64, limit int) ([]byte, error) {
	at, length := uint32(packed>>32), uint32(packed)
	if int64(length) > int64(limit) {
		return nil, fmt.Errorf("%d bytes, more than %d", length, limit)
	}
	m := i.module.Memory()
	if m == nil {
		return nil, errors.New("the module has no memory")
	}
	text, inside := m.Read(at, length)
	if !inside {
		return nil, fmt.Errorf("%d bytes at %d are not in the memory of the module", length, at)
	}
	return text, nil
}

// hostFunction is orchd.host: the module asks for something and is given an address of the answer.
func hostFunction(ctx context.Context, module api.Module, stack []uint64) {
	i := ctx.Value(instanceKey{}).(*instance)
	i.module = module // while it is being started, nobody else knows it yet
	answer := i.host(uint64(uint32(stack[0]))<<32 | uint64(uint32(stack[1])))
	at, err := i.put(answer)
	if err != nil {
		panic(err) // wazero makes it the error of the call
	}
	stack[0] = uint64(at)<<32 | uint64(len(answer))
}

// request is what a module asks the host for.
type request struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"`
}

func (i *instance) host(packed uint64) []byte {
	text, err := i.get(packed, maxHost)
	var r request
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return failed(fmt.Errorf("orchd.host: %w", err))
	}
	if len(r.Args) == 0 {
		r.Args = json.RawMessage("{}")
	}
	result, err := i.call.Do(r.Name, r.Args)
	if err != nil {
		return failed(err)
	}
	answer, err := json.Marshal(output{Result: result})
	if err != nil {
		return failed(fmt.Errorf("%s: %w", r.Name, err))
	}
	return answer
}

func failed(err error) []byte {
	text := err.Error()
	answer, _ := json.Marshal(output{Error: &text}) // strings always have JSON
	return answer
}

// explain says what an error of wazero means.
func (e *Engine) explain(ctx context.Context, i *instance, err error) error {
	said := strings.TrimSpace(i.stderr.String())
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"):
		return fmt.Errorf("module %s: %w", i.call.Name, ErrMemory)
	case trapped(err) && i.memory.exhausted(e.memory):
		return fmt.Errorf("module %s: %w", i.call.Name, ErrMemory)
	case said != "" && trapped(err):
		return fmt.Errorf("module %s: %s", i.call.Name, said)
	}
	if trapped(err) {
		return fmt.Errorf("module %s: %s", i.call.Name, firstLine(err.Error()))
	}
	return fmt.Errorf("module %s: %w", i.call.Name, err)
}

// trapped tells whether the module was ended by WebAssembly itself, or ended itself.
func trapped(err error) bool {
	if _, exited := errors.AsType[*sys.ExitError](err); exited {
		return true
	}
	return strings.Contains(err.Error(), "wasm error:")
}

// firstLine leaves out the stack of addresses that wazero tells.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSuffix(line, " (recovered by wazero)")
}

// maxSaid is how much of what a module prints is kept: the beginning.
const maxSaid = 1 << 10

// tail keeps the beginning of what is printed; what a module wants to say, it logs.
type tail struct{ bytes.Buffer }

func (t *tail) Write(text []byte) (int, error) {
	t.Buffer.Write(text[:min(len(text), maxSaid-t.Len())])
	return len(text), nil
}

// sameBytes are random to look at, and the same in every call (splitmix64).
type sameBytes struct{ state uint64 }

func (s *sameBytes) Read(into []byte) (int, error) {
	for i := range into {
		s.state += 0x9e3779b97f4a7c15
		z := s.state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		into[i] = byte(z ^ z>>31)
	}
	return len(into), nil
}
