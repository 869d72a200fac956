// Package guest is for WebAssembly modules of orchd's system services that are written in Go:
//
//	func main() {}
//
//	func init() {
//		guest.Handle("greet", func(args guest.Args) (any, error) {
//			var who struct{ Name string }
//			if err := args.Decode(&who); err != nil {
//				return nil, err
//			}
//			return "hello " + who.Name, nil
//		})
//	}
//
// Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o greet.wasm .
//
// Every call has an instance of its own: nothing stays in variables from one call to the
// next; what must stay goes into KV. What a module may do its package's [grants] say; a
// host function that was not granted returns an error.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Args are the arguments of a call: a JSON object, by name, or an array, in order.
type Args json.RawMessage

// Decode reads the arguments into what v points to. No arguments leave it as it is.
func (a Args) Decode(v any) error {
	if len(a) == 0 {
		return nil
	}
	if err := json.Unmarshal(a, v); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	return nil
}

// Function answers a call. The result is sent as JSON.
type Function func(args Args) (any, error)

var (
	functions = map[string]Function{}
	current   input // the call that this instance is for
)

// Handle has calls of a function answered. It is called from init; a name that begins
// with _ cannot be called from outside.
func Handle(name string, f Function) { functions[name] = f }

// Actor is who calls.
type Actor struct {
	ID      string `json:"id"`
	Role    string `json:"role"`
	Account string `json:"account"`
}

// Caller is who calls.
func Caller() (a Actor) {
	if len(current.Caller) > 0 {
		json.Unmarshal(current.Caller, &a) // the host wrote it: it is an Actor
	}
	return a
}

// Settings reads the settings of the module into what v points to.
func Settings(v any) error {
	if len(current.Settings) == 0 {
		return nil
	}
	return json.Unmarshal(current.Settings, v)
}

type input struct {
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args"`
	Settings json.RawMessage `json:"settings"`
	Caller   json.RawMessage `json:"caller"`
}

// answer is the whole of a call: JSON in, JSON out.
func answer(text []byte) []byte {
	result, err := dispatch(text)
	if err == nil {
		return append(append([]byte(`{"result":`), result...), '}')
	}
	failure, _ := json.Marshal(struct { // strings always have JSON
		Error      string `json:"error"`
		NoFunction bool   `json:"no_function,omitempty"`
	}{err.Error(), errors.Is(err, errNoFunction)})
	return failure
}

var errNoFunction = errors.New("no such function")

// dispatch gives the result of a call as JSON.
func dispatch(text []byte) ([]byte, error) {
	current = input{}
	if err := json.Unmarshal(text, &current); err != nil {
		return nil, err
	}
	if current.Function == "_functions" {
		return json.Marshal(names())
	}
	f, is := functions[current.Function]
	if !is {
		return nil, fmt.Errorf("%w: %s", errNoFunction, current.Function)
	}
	v, err := f(Args(current.Args))
	if err != nil {
		return nil, err
	}
	result, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("return invalid result: %w", err)
	}
	return result, nil
}

// names are the functions that can be called, in alphabetical order.
func names() []string {
	all := []string{}
	for name := range functions {
		if name[:1] != "_" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
