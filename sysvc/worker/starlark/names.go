package starlark

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	sljson "go.starlark.net/lib/json"
	slmath "go.starlark.net/lib/math"
	sl "go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/orchd/orchd/api"
)

// hostFunctions are the functions that the host does, and the names of their parameters. Those
// with a question mark may be left out, and then are left out of what the host is given,
// as they are when they are None.
var hostFunctions = map[string]string{
	"kv.get":             "key of?",
	"kv.set":             "key text",
	"kv.get_json":        "key of?",
	"kv.set_json":        "key value",
	"kv.get_u32":         "key of?",
	"kv.set_u32":         "key n",
	"kv.add_u32":         "key n",
	"kv.push":            "key text",
	"kv.pop":             "key",
	"kv.take":            "key i",
	"kv.drop":            "key text",
	"kv.list":            "key of?",
	"kv.get_field":       "key field of?",
	"kv.set_field":       "key field value",
	"kv.exists":          "key of?",
	"kv.remove":          "key",
	"kv.keys":            "prefix? of?",
	"kv.items":           "prefix? of?",
	"kv.compare_and_set": "key old new",
	"mailbox.pop":        "",
	"mailbox.push":       "alias text",
	"call":               "service function args?",
	"attempt":            "service function args?",
	"module_call":        "module function args?",
	"http.get":           "url headers?",
	"http.post":          "url body? headers? body_base64?",
	"http.request":       "method url body? headers? body_base64?",
	"orchd.read":         "table filter?",
	"orchd.vm_create":    "vm",
	"orchd.vm_delete":    "name account?",
	"orchd.vm_act":       "name action account?",
	"orchd.deal_report":  "report",
	"orchd.deal_create":  "deal",
	"orchd.deal_update":  "name update account?",
	"orchd.deal_delete":  "name account?",
	"orchd.self":         "",
	"now":                "",
}

// universe is what every script knows, besides settings, caller and spell.
var universe = func() sl.StringDict {
	all := sl.StringDict{
		"json":   guardedJSON(),
		"math":   slmath.Module,
		"crypto": module("crypto", builtins{"sha256": sha256Of, "ed25519_verify": ed25519Verify}),
		"base64": module("base64", builtins{"encode": encoder(base64.StdEncoding.EncodeToString), "decode": decoder(base64.StdEncoding.DecodeString)}),
		"hex":    module("hex", builtins{"encode": encoder(hex.EncodeToString), "decode": decoder(hex.DecodeString)}),
		"log":    sl.NewBuiltin("log", line),
		"error":  sl.NewBuiltin("error", line),
	}
	for _, name := range slices.Sorted(maps.Keys(hostFunctions)) {
		f := hostFunction(name, hostFunctions[name])
		space, short, inSpace := strings.Cut(name, ".")
		if !inSpace {
			all[name] = f
			continue
		}
		if all[space] == nil {
			all[space] = &starlarkstruct.Module{Name: space, Members: sl.StringDict{}}
		}
		all[space].(*starlarkstruct.Module).Members[short] = f
	}
	all["attempt"] = attempt
	all.Freeze()
	return all
}()

// isPredeclared tells the compiler which names there are; predeclared gives all of them.
func isPredeclared(name string) bool {
	switch name {
	case "settings", "caller", "spell":
		return true
	}
	return universe.Has(name)
}

// predeclared is what a module knows.
func (r *runner) predeclared(m Module) (sl.StringDict, error) {
	settings, err := objectFromJSON(m.Settings)
	if err != nil {
		return nil, fmt.Errorf("settings of module %s: %w", m.Name, err)
	}
	settings.Freeze()
	names := maps.Clone(universe)
	names["settings"], names["caller"], names["spell"] = settings, r.caller, r.spell
	return names, nil
}

// contextOf makes caller and spell.
func contextOf(c Call) (caller, spell sl.Value, err error) {
	caller = actor(c.Caller)
	caller.Freeze()
	if len(c.Spell) == 0 {
		return caller, sl.None, nil
	}
	fields, err := objectFromJSON(c.Spell)
	if err != nil {
		return nil, nil, fmt.Errorf("spell: %w", err)
	}
	spell = starlarkstruct.FromKeywords(starlarkstruct.Default, fields.Items())
	spell.Freeze()
	return caller, spell, nil
}

func actor(a api.Actor) sl.Value {
	return starlarkstruct.FromStringDict(starlarkstruct.Default, sl.StringDict{
		"id": sl.String(a.ID), "role": sl.String(a.Role), "account": sl.String(a.Account),
	})
}

func objectFromJSON(text []byte) (*sl.Dict, error) {
	if len(text) == 0 {
		return new(sl.Dict), nil
	}
	value, err := FromJSON(text)
	if err != nil {
		return nil, err
	}
	dict, is := value.(*sl.Dict)
	if !is {
		return nil, fmt.Errorf("it is a JSON %s, not an object", value.Type())
	}
	return dict, nil
}

type builtin = func(*sl.Thread, *sl.Builtin, sl.Tuple, []sl.Tuple) (sl.Value, error)

type builtins map[string]builtin

func module(name string, all builtins) *starlarkstruct.Module {
	m := &starlarkstruct.Module{Name: name, Members: sl.StringDict{}}
	for short, f := range all {
		m.Members[short] = sl.NewBuiltin(name+"."+short, f)
	}
	return m
}

// hostFunction is a function that the host does.
func hostFunction(name, params string) *sl.Builtin {
	fields := strings.Fields(params)
	return sl.NewBuiltin(name, func(thread *sl.Thread, _ *sl.Builtin, args sl.Tuple, kwargs []sl.Tuple) (sl.Value, error) {
		values := make([]sl.Value, len(fields))
		pairs := make([]any, 0, 2*len(fields))
		for i, p := range fields {
			pairs = append(pairs, p, &values[i])
		}
		if err := sl.UnpackArgs(name, args, kwargs, pairs...); err != nil {
			return nil, err
		}
		given := make([]field, 0, len(fields))
		for i, p := range fields {
			param, optional := strings.CutSuffix(p, "?")
			if optional && (values[i] == nil || values[i] == sl.None) {
				continue
			}
			given = append(given, field{param, values[i]})
		}
		return thread.Local(localRunner).(*runner).do(name, given)
	})
}

// line is a line of the log, or an error line: the arguments with spaces between them.
func line(thread *sl.Thread, b *sl.Builtin, args sl.Tuple, kwargs []sl.Tuple) (sl.Value, error) {
	if len(kwargs) > 0 {
		return nil, fmt.Errorf("%s: it takes no arguments by name", b.Name())
	}
	words := make([]string, len(args))
	for i, arg := range args {
		if s, is := sl.AsString(arg); is {
			words[i] = s
		} else {
			words[i] = arg.String()
		}
	}
	return thread.Local(localRunner).(*runner).do(b.Name(), []field{{"text", sl.String(logLine(strings.Join(words, " ")))}})
}

// logLine cuts a line to what is kept of it.
func logLine(text string) string {
	if len(text) <= api.MaxLogLine {
		return text
	}
	end := api.MaxLogLine - len(" ...")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + " ..."
}

// guardedJSON is Starlark's own json module, without what ends a process: it reads by
// recursion, however deep the text nests.
func guardedJSON() *starlarkstruct.Module {
	m := &starlarkstruct.Module{Name: "json", Members: maps.Clone(sljson.Module.Members)}
	decode := m.Members["decode"].(*sl.Builtin)
	m.Members["decode"] = sl.NewBuiltin("json.decode", func(thread *sl.Thread, _ *sl.Builtin, args sl.Tuple, kwargs []sl.Tuple) (sl.Value, error) {
		if len(args) > 0 {
			if text, is := sl.AsString(args[0]); is {
				if err := checkNesting(text); err != nil {
					return nil, fmt.Errorf("json.decode: %w", err)
				}
			}
		}
		return decode.CallInternal(thread, args, kwargs)
	})
	return m
}

func sha256Of(_ *sl.Thread, b *sl.Builtin, args sl.Tuple, kwargs []sl.Tuple) (sl.Value, error) {
	text, err := oneText(b, "text", args, kwargs)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(text))
	return sl.String(hex.EncodeToString(sum[:])), nil
}

// ed25519Verify tells whether a signature is right. What is no key or no signature is not.
func ed25519Verify(_ *sl.Thread, b *sl.Builtin, args sl.Tuple, kwargs []sl.Tuple) (sl.Value, error) {
	var public, text, signature string
	if err := sl.UnpackArgs(b.Name(), args, kwargs, "public", &public, "text", &text, "signature", &signature); err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(public)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return sl.False, nil
	}
	sig, err := hex.DecodeString(signature)
	return sl.Bool(err == nil && ed25519.Verify(key, []byte(text), sig)), nil
}

func encoder(encode func([]byte) string) builtin {
	return func(_ *sl.Thread, b *sl.Builtin, args sl.Tuple, kwargs []sl.Tuple) (sl.Value, error) {
		text, err := oneText(b, "text", args, kwargs)
		return sl.String(encode([]byte(text))), err
	}
}

func decoder(decode func(string) ([]byte, error)) builtin {
	return func(_ *sl.Thread, b *sl.Builtin, args sl.Tuple, kwargs []sl.Tuple) (sl.Value, error) {
		text, err := oneText(b, "text", args, kwargs)
		if err != nil {
			return nil, err
		}
		plain, err := decode(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.Name(), err)
		}
		return sl.String(plain), nil
	}
}

// oneText unpacks the one argument of a function: a string, or bytes.
func oneText(b *sl.Builtin, name string, args sl.Tuple, kwargs []sl.Tuple) (string, error) {
	var v sl.Value
	if err := sl.UnpackArgs(b.Name(), args, kwargs, name, &v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case sl.String:
		return string(v), nil
	case sl.Bytes:
		return string(v), nil
	}
	return "", fmt.Errorf("%s: got %s, want string", b.Name(), v.Type())
}
