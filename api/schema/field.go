package schema

import (
	"time"

	"github.com/orchd/orchd/api/inventory"
)

// field is one property of a kind whose Go type is T.
type field[T any] struct {
	name  string
	is    trait
	about string
	read  func(*scanner, trait, *T) bool
}

// fields is a kind: all properties that its objects may have.
type fields[T any] []field[T]

// into reads an object of the kind. It refuses what the schema refuses.
func (all fields[T]) into(s *scanner, v *T) bool {
	var seen uint32
	ok := s.object(func(key string) bool {
		i := all.index(key)
		if i < 0 || seen&(1<<i) != 0 {
			return false
		}
		seen |= 1 << i
		return all[i].read(s, all[i].is, v)
	})
	for i, f := range all {
		ok = ok && (!f.is.has(required) || seen&(1<<i) != 0)
	}
	return ok
}

func (all fields[T]) index(name string) int {
	for i := range all {
		if all[i].name == name {
			return i
		}
	}
	return -1
}

// property is what a schema says of a field.
type property struct {
	name  string
	is    trait
	about string
}

// properties is what the schema of the kind is made from.
func (all fields[T]) properties() []property {
	var out []property
	for _, f := range all {
		out = append(out, property{f.name, f.is, f.about})
	}
	return out
}

// The readers of fields. Each takes the way from the object to the field.

func text[T any, S ~string](at func(*T) *S) func(*scanner, trait, *T) bool {
	return func(s *scanner, is trait, v *T) bool {
		value, ok := s.string()
		*at(v) = S(value)
		return ok && is.accepts(value)
	}
}

// other reads one of two names of a text: both may be there, and then alike.
func other[T any](at func(*T) *string) func(*scanner, trait, *T) bool {
	return func(s *scanner, is trait, v *T) bool {
		value, ok := s.string()
		before := *at(v)
		if before == "" {
			*at(v) = value
		}
		return ok && is.accepts(value) && (before == "" || value == "" || before == value)
	}
}

func secret[T any](at func(*T) **string) func(*scanner, trait, *T) bool {
	return func(s *scanner, _ trait, v *T) bool {
		value, ok := s.string()
		*at(v) = &value
		return ok
	}
}

func moment[T any](at func(*T) *time.Time) func(*scanner, trait, *T) bool {
	return func(s *scanner, _ trait, v *T) (ok bool) {
		*at(v), ok = s.time()
		return ok
	}
}

func count[T any](at func(*T) *uint64) func(*scanner, trait, *T) bool {
	return func(s *scanner, _ trait, v *T) (ok bool) {
		*at(v), ok = s.version()
		return ok
	}
}

func truth[T any](at func(*T) *bool) func(*scanner, trait, *T) bool {
	return func(s *scanner, _ trait, v *T) (ok bool) {
		*at(v), ok = s.bool()
		return ok
	}
}

// object reads an object that orchd does not look into; textOrObject also a string.
func object[T any](at func(*T) *inventory.Object) func(*scanner, trait, *T) bool {
	return piece("{", at)
}

func textOrObject[T any](at func(*T) *inventory.Object) func(*scanner, trait, *T) bool {
	return piece(`{"`, at)
}

func piece[T any](first string, at func(*T) *inventory.Object) func(*scanner, trait, *T) bool {
	return func(s *scanner, _ trait, v *T) (ok bool) {
		*at(v), ok = s.piece(first)
		return ok
	}
}

// inner reads an object of another kind.
func inner[T, U any](at func(*T) **U, read func(*scanner, *U) bool) func(*scanner, trait, *T) bool {
	return func(s *scanner, _ trait, v *T) bool {
		*at(v) = new(U)
		return read(s, *at(v))
	}
}

// list reads an array of one thing; it is nil when it is empty.
func list[T, U any](at func(*T) *[]U, read func(*scanner, *U) bool) func(*scanner, trait, *T) bool {
	return func(s *scanner, _ trait, v *T) bool {
		var items []U
		ok := s.array(func() bool {
			items = append(items, *new(U))
			return read(s, &items[len(items)-1])
		})
		*at(v) = items
		return ok
	}
}

// texts reads an array of strings that accept takes.
func texts[T any](at func(*T) *[]string, accept func(string) bool) func(*scanner, trait, *T) bool {
	return list(at, func(s *scanner, item *string) (ok bool) {
		*item, ok = s.string()
		return ok && accept(*item)
	})
}

// textMap reads an object of strings.
func textMap[T any](at func(*T) *map[string]string) func(*scanner, trait, *T) bool {
	return func(s *scanner, _ trait, v *T) bool {
		all := map[string]string{}
		*at(v) = all
		return s.object(func(key string) bool {
			_, twice := all[key]
			value, ok := s.string()
			all[key] = value
			return ok && !twice
		})
	}
}
