package history

import "github.com/anishathalye/porcupine"

// entry is one operation as a model sees it, with its outcome settled.
type entry struct {
	verb      Verb
	want, saw Value
	refused   Reason // Nothing: it took effect
}

// models say, for each kind, what an operation may see and what it leaves behind.
var models = map[Kind]func(state Value, e entry) (possible bool, next Value){
	Register: register,
	Machine:  machine,
	Token:    token,
}

// model is a kind's model in porcupine's shape. All begin with nothing there.
func model(k Kind) porcupine.Model {
	step := models[k]
	return porcupine.Model{
		Init: func() any { return Value{} },
		Step: func(state, input, _ any) (bool, any) {
			possible, next := step(state.(Value), input.(entry))
			return possible, next
		},
		Equal: func(a, b any) bool { return a.(Value) == b.(Value) },
	}
}

// register is a row whose version is 1 when it is made and one more with each change.
func register(state Value, e entry) (bool, Value) {
	switch e.refused {
	case Taken:
		return state.Exists, state
	case Absent:
		return !state.Exists, state
	case Changed:
		return state.Exists && state.Version != e.want.Version, state
	}
	switch e.verb {
	case Read:
		return e.saw.Exists == state.Exists && e.saw.Version == state.Version && e.saw.Content == state.Content, state
	case Create:
		return !state.Exists, Value{Exists: true, Version: 1, Content: e.want.Content}
	case Swap:
		fits := state.Exists && (e.want.Version == 0 || e.want.Version == state.Version) &&
			(e.saw.Version == 0 || e.saw.Version == state.Version+1)
		return fits, Value{Exists: true, Version: state.Version + 1, Content: e.want.Content}
	case Delete:
		return state.Exists, Value{}
	}
	return false, state
}

// doomed is the content of a VM's state once somebody asked for its deletion: from
// then on it may be gone at any time.
const doomed = "doomed"

// machine is a name that one VM at most has.
func machine(state Value, e entry) (bool, Value) {
	free := !state.Exists || state.Content == doomed
	switch {
	case e.refused == Taken:
		return state.Exists, state
	case e.refused == Absent, e.verb == Gone:
		return free, Value{}
	case e.verb == Create:
		return free, Value{Exists: true, ID: e.saw.ID}
	case e.verb == Delete:
		return state.Exists, Value{Exists: true, ID: state.ID, Content: doomed}
	case e.verb == Read && e.saw.Exists:
		return state.Exists && state.ID == e.saw.ID, state
	case e.verb == Read:
		return free, Value{}
	}
	return false, state
}

// token is used once; whoever used it may ask again.
func token(state Value, e entry) (bool, Value) {
	if e.refused == Taken {
		return state.Exists && state.ID != e.want.ID, state
	}
	return e.verb == Use && (!state.Exists || state.ID == e.want.ID), Value{Exists: true, ID: e.want.ID}
}
