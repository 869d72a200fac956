package guest

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Host asks the host for something by its name, such as "http.get", with the arguments by
// name, and reads the answer into what v points to unless that is nil. docs/system-services.md
// lists what there is; what is used most has functions of its own here.
func Host(name string, args map[string]any, v any) error {
	if args == nil {
		args = map[string]any{}
	}
	request, err := json.Marshal(map[string]any{"name": name, "args": args})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var told struct {
		Result json.RawMessage `json:"result"`
		Error  *string         `json:"error"`
	}
	if err := json.Unmarshal(ask(request), &told); err != nil {
		return fmt.Errorf("%s: the answer of the host: %w", name, err)
	}
	if told.Error != nil {
		return errors.New(*told.Error)
	}
	if v == nil || len(told.Result) == 0 {
		return nil
	}
	if err := json.Unmarshal(told.Result, v); err != nil {
		return fmt.Errorf("%s: the answer: %w", name, err)
	}
	return nil
}

// Log writes a line into the log.
func Log(words ...any) error { return say("log", words) }

// Error writes an error line.
func Error(words ...any) error { return say("error", words) }

func say(name string, words []any) error {
	text := fmt.Sprintln(words...)
	return Host(name, map[string]any{"text": text[:len(text)-1]}, nil)
}

// Call calls a function of another service and reads its result into what v points to unless that is nil.
// args is anything that is a JSON object or array.
func Call(service, function string, args, v any) error {
	return Host("call", map[string]any{"service": service, "function": function, "args": args}, v)
}

// Module calls a function of another module of the same service.
func Module(module, function string, args, v any) error {
	return Host("module_call", map[string]any{"module": module, "function": function, "args": args}, v)
}

// Now is the time in seconds since 1970.
func Now() (seconds int64, err error) {
	err = Host("now", nil, &seconds)
	return seconds, err
}

// KV is what the service keeps in the cluster.
var KV kv

type kv struct{}

// Get gives a string; there is false if there is none.
func (kv) Get(key string) (text string, there bool, err error) {
	var v *string
	if err := Host("kv.get", map[string]any{"key": key}, &v); err != nil || v == nil {
		return "", false, err
	}
	return *v, true, nil
}

// Set sets a string.
func (kv) Set(key, text string) error {
	return Host("kv.set", map[string]any{"key": key, "text": text}, nil)
}

// GetJSON reads a value that is kept as JSON; v stays as it is if there is none.
func (kv) GetJSON(key string, v any) error {
	return Host("kv.get_json", map[string]any{"key": key}, v)
}

// SetJSON keeps a value as JSON.
func (kv) SetJSON(key string, v any) error {
	return Host("kv.set_json", map[string]any{"key": key, "value": v}, nil)
}

// Add adds to a number, which is 0 at first, and gives what it is then.
func (kv) Add(key string, n uint32) (sum uint32, err error) {
	err = Host("kv.add_u32", map[string]any{"key": key, "n": n}, &sum)
	return sum, err
}

// Keys lists the keys that begin with prefix, in order.
func (kv) Keys(prefix string) (keys []string, err error) {
	err = Host("kv.keys", map[string]any{"prefix": prefix}, &keys)
	return keys, err
}

// Remove removes a key.
func (kv) Remove(key string) error { return Host("kv.remove", map[string]any{"key": key}, nil) }
