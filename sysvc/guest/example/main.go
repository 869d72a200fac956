// Command example is a WebAssembly module that shows what package guest offers: a
// greeting from its settings, a counter that stays, and a call of another service.
package main

import (
	"errors"

	"github.com/orchd/orchd/sysvc/guest"
)

func main() {}

func init() {
	guest.Handle("greet", greet)
	guest.Handle("count", count)
	guest.Handle("forward", forward)
}

// greet greets whom it is told to, in the words of the settings.
func greet(args guest.Args) (any, error) {
	var who struct{ Name string }
	if err := args.Decode(&who); err != nil {
		return nil, err
	}
	if who.Name == "" {
		return nil, errors.New("whom am I to greet? give a name")
	}
	settings := struct{ Greeting string }{"hello"}
	if err := guest.Settings(&settings); err != nil {
		return nil, err
	}
	return settings.Greeting + " " + who.Name, nil
}

// count tells how often it was called, by whomever.
func count(guest.Args) (any, error) {
	n, err := guest.KV.Add("calls", 1)
	if err != nil {
		return nil, err
	}
	if err := guest.Log("call", n, "by", guest.Caller().ID); err != nil {
		return nil, err
	}
	return map[string]any{"calls": n}, nil
}

// forward calls a function of another service.
func forward(args guest.Args) (any, error) {
	var to struct {
		Service, Function string
		Args              any
	}
	if err := args.Decode(&to); err != nil {
		return nil, err
	}
	var result any
	err := guest.Call(to.Service, to.Function, to.Args, &result)
	return result, err
}
