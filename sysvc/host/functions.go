package host

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/orchd/orchd/api"
)

// What a line is.
const (
	kindLog   = "log"
	kindError = "error"
)

// function is something that scripts can do.
type function struct {
	granted func(api.Grants) bool // nil: always
	needs   string                // what the manifest has to say for it
	do      func(*world, context.Context, arguments) (any, error)
}

// Grants that several functions need.
var (
	needsKV  = function{granted: func(g api.Grants) bool { return g.KV }, needs: "kv = true"}
	needsVMs = function{granted: func(g api.Grants) bool { return g.VMs }, needs: "vms = true"}
)

func (f function) that(do func(*world, context.Context, arguments) (any, error)) function {
	f.do = do
	return f
}

// functions is everything that scripts can ask their host for.
var functions = map[string]function{
	"log":   {do: says(kindLog)},
	"error": {do: says(kindError)},
	"now": {granted: func(g api.Grants) bool { return g.Now }, needs: "now = true",
		do: func(w *world, _ context.Context, _ arguments) (any, error) { return w.cluster().Now().Unix(), nil }},

	"kv.get":             needsKV.that(kvGet),
	"kv.set":             needsKV.that(kvSet),
	"kv.get_json":        needsKV.that(kvGetJSON),
	"kv.set_json":        needsKV.that(kvSetJSON),
	"kv.get_u32":         needsKV.that(kvGetU32),
	"kv.set_u32":         needsKV.that(kvSetU32),
	"kv.add_u32":         needsKV.that(kvAddU32),
	"kv.push":            needsKV.that(kvPush),
	"kv.pop":             needsKV.that(kvPop),
	"kv.take":            needsKV.that(kvTake),
	"kv.drop":            needsKV.that(kvDrop),
	"kv.list":            needsKV.that(kvList),
	"kv.get_field":       needsKV.that(kvGetField),
	"kv.set_field":       needsKV.that(kvSetField),
	"kv.exists":          needsKV.that(kvExists),
	"kv.remove":          needsKV.that(kvRemove),
	"kv.keys":            needsKV.that(kvKeys),
	"kv.items":           needsKV.that(kvItems),
	"kv.compare_and_set": needsKV.that(kvCompareAndSet),

	"mailbox.pop":  needsKV.that(mailPop),
	"mailbox.push": needsKV.that(mailPush),

	"http.get":     {do: httpGet}, // each asks for its host itself
	"http.post":    {do: httpPost},
	"http.request": {do: httpRequest},

	"orchd.self":        {do: self},
	"orchd.read":        {do: read}, // asks for its table itself
	"orchd.vm_create":   needsVMs.that(vmCreate),
	"orchd.vm_delete":   needsVMs.that(vmDelete),
	"orchd.vm_act":      needsVMs.that(vmAct),
	"orchd.deal_report": needsVMs.that(dealReport),
	"orchd.deal_create": needsVMs.that(dealCreate),
	"orchd.deal_update": needsVMs.that(dealUpdate),
	"orchd.deal_delete": needsVMs.that(dealDelete),
}

// Do is a function of the host, asked for by a script: its arguments are a JSON object by name.
func (w *world) Do(ctx context.Context, name string, args json.RawMessage) (json.RawMessage, error) {
	f, known := functions[name]
	if !known {
		return nil, api.Errorf(api.NotFound, name, "there is no function %s", name)
	}
	if f.granted != nil && !f.granted(w.owner.grants) {
		return nil, w.notGranted(name, f.needs)
	}
	a, err := parse(name, args)
	if err != nil {
		return nil, err
	}
	result, err := f.do(w, ctx, a)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// notGranted says which line of package.toml, or which flag of orchd spell install, would
// allow it.
func (w *world) notGranted(what, needs string) error {
	line := needs + " under [grants] of package.toml"
	if w.owner.pkg == "" {
		name, value, _ := strings.Cut(needs, " = ")
		line = "--grant " + name
		if value != "true" {
			line += "=" + strings.Trim(value, `["]`)
		}
		line += ", when it is installed"
	}
	return &api.Error{Kind: api.Forbidden, Msg: "not granted: " + what + " needs " + line}
}

// arguments of a call of the host, by name.
type arguments struct {
	function string
	by       map[string]json.RawMessage
}

func parse(function string, args json.RawMessage) (arguments, error) {
	a := arguments{function: function}
	if len(args) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(args, &a.by); err != nil {
		return a, api.Errorf(api.Invalid, function, "the arguments are to be a JSON object, by name: %w", err)
	}
	return a, nil
}

// into reads an argument; one that is not there, or null, leaves what is.
func (a arguments) into(name string, v any) error {
	raw, there := a.by[name]
	if !there || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return a.wrong("argument %s: %v", name, err)
	}
	return nil
}

// all reads several arguments: name, where to, name, where to.
func (a arguments) all(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := a.into(pairs[i].(string), pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (a arguments) has(name string) bool {
	raw, there := a.by[name]
	return there && string(raw) != "null"
}

func (a arguments) wrong(format string, args ...any) error {
	return api.Errorf(api.Invalid, a.function, format, args...)
}

// says makes log and error: text as it is, or values one after the other as print would.
func says(kind string) func(*world, context.Context, arguments) (any, error) {
	return func(w *world, _ context.Context, a arguments) (any, error) {
		var text string
		var values []json.RawMessage
		if err := a.all("text", &text, "args", &values); err != nil {
			return nil, err
		}
		for i, value := range values {
			if i > 0 {
				text += " "
			}
			var plain string
			if json.Unmarshal(value, &plain) != nil {
				plain = string(value)
			}
			text += plain
		}
		w.note(kind, strings.TrimRight(text, "\n"))
		return nil, nil
	}
}
