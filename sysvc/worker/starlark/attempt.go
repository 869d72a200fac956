package starlark

import (
	"errors"

	sl "go.starlark.net/starlark"
)

// attempt is what a script calls when it wants to go on whatever happens:
// attempt("service", "function", args) asks another service, attempt(f, ...) calls f, which
// may be a function of the script or of the host. Both give a dict of success, error and
// result. What ends the whole call, such as its deadline, ends it here too.
var attempt = sl.NewBuiltin("attempt", func(thread *sl.Thread, b *sl.Builtin, args sl.Tuple, kwargs []sl.Tuple) (sl.Value, error) {
	var f sl.Callable
	if len(args) > 0 {
		f, _ = args[0].(sl.Callable)
	}
	if f == nil {
		return hostFunction(b.Name(), hostFunctions[b.Name()]).CallInternal(thread, args, kwargs)
	}
	result, err := sl.Call(thread, f, args[1:], kwargs)
	r := thread.Local(localRunner).(*runner)
	if err != nil && (r.ended != nil || r.ctx.Err() != nil || errors.Is(err, ErrSteps)) {
		return nil, err
	}
	told := sl.NewDict(3)
	text := ""
	if err != nil {
		result, text = sl.None, err.Error()
	}
	told.SetKey(sl.String("success"), sl.Bool(err == nil))
	told.SetKey(sl.String("error"), sl.String(text))
	told.SetKey(sl.String("result"), result)
	return told, nil
})
