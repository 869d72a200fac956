package cli

import (
	"context"
	"errors"
	"regexp"
	"strings"
)

// failures are what went wrong with some of several names. The exit code is that
// of the worst.
type failures []failed

// failed is one of them, and what it was about; empty where the error says it.
type failed struct {
	ref string
	err error
}

// Error gives a line for each.
func (f failures) Error() string {
	var lines []string
	for _, one := range f {
		lines = append(lines, one.line(nil))
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the errors themselves.
func (f failures) Unwrap() []error {
	var all []error
	for _, one := range f {
		all = append(all, one.err)
	}
	return all
}

// line is the sentence of the error, with the name where it does not say it.
func (f failed) line(has flagSet) string {
	text := has.message(f.err)
	if f.ref == "" || says(text, f.ref) {
		return text
	}
	return f.ref + ": " + text
}

// says tells whether a text holds a name, and not only as a part of another one.
func says(text, name string) bool {
	whole := regexp.MustCompile(`(^|[^a-zA-Z0-9-])` + regexp.QuoteMeta(name) + `($|[^a-zA-Z0-9-])`)
	return whole.MatchString(text)
}

// together is one error of several; nil if there is none.
func together(errs ...error) error {
	var all failures
	for _, err := range errs {
		if some, several := err.(failures); several {
			all = append(all, some...)
		} else if err != nil {
			all = append(all, failed{"", err})
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		if all[0].ref == "" {
			return all[0].err
		}
	}
	return all
}

// each does something with every name, also with those behind one that it fails
// for. Only when nobody can be reached, or a person has had enough, the rest is left.
func each(ctx context.Context, refs []string, do func(ref string) error) error {
	var all failures
	for _, ref := range refs {
		err := do(ref)
		if err == nil {
			continue
		}
		if len(refs) == 1 {
			return err
		}
		all = append(all, failed{ref, err})
		if ctx.Err() != nil || nobodyThere(err) {
			break
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// nobodyThere tells whether the next request would fail as this one did.
func nobodyThere(err error) bool {
	f, ours := errors.AsType[*failure](err)
	return ours && f.code == exitUnreachable
}
