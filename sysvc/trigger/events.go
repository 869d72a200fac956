package trigger

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
)

// maxMatching bounds how many rows a Matcher remembers for each pattern.
const maxMatching = 10_000

// maxEvent is how many bytes a row may have and still be told in the firing of its
// change: what fires a run is kept in the log. Of a larger one the firing has all but
// the value, and the script reads the row itself.
const maxEvent = 32 << 10

// Matcher picks the changes that a spell asked for.
//
// A pattern with Where fires when a row comes to match, and not again for each further
// change of a row that matches already. What matched before is remembered here and
// nowhere else: after a restart, or on another peer, the next change of a row that has
// matched all along fires once more.
type Matcher struct {
	patterns []pattern
}

type pattern struct {
	api.EventMatch
	matching map[string]bool // keys of the rows that matched when they last changed
}

// NewMatcher is a matcher that has seen nothing.
func NewMatcher(events []api.EventMatch) *Matcher {
	m := &Matcher{}
	for _, e := range events {
		m.patterns = append(m.patterns, pattern{e, map[string]bool{}})
	}
	return m
}

// Tables are the tables that are asked for, each once and in order.
func (m *Matcher) Tables() (all []string) {
	for _, p := range m.patterns {
		all = append(all, p.Table)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Match tells whether a change fires the spell. Each change is to be shown once, in
// the order of positions.
func (m *Matcher) Match(e api.Event) bool {
	fires := false
	var row any
	for i := range m.patterns {
		p := &m.patterns[i]
		if p.Table != e.Table {
			continue
		}
		if row == nil && len(p.Where) > 0 && len(e.Value) > 0 {
			row = decoded(e.Value)
		}
		fires = p.match(e, row) || fires // every pattern has to see every change
	}
	return fires
}

func (p *pattern) match(e api.Event, row any) bool {
	verb := p.Verb == "" || p.Verb == e.Verb
	if len(p.Where) == 0 {
		return verb
	}
	matches := len(e.Value) > 0 && hasAll(row, p.Where)
	before := p.matching[e.Key]
	switch {
	case !matches || e.Verb == api.Deleted:
		delete(p.matching, e.Key)
	case len(p.matching) < maxMatching:
		p.matching[e.Key] = true
	}
	return matches && !before && verb
}

// decoded keeps numbers as they are written, so that 1e3 and large ids compare as text.
func decoded(text json.RawMessage) (v any) {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

func hasAll(row any, where map[string]string) bool {
	for path, want := range where {
		if !has(row, strings.Split(path, "."), want) {
			return false
		}
	}
	return true
}

// has tells whether the field at a path has a value. A list has what one of its
// elements has, or its n-th where the path says so; a field that is not there is empty.
func has(v any, path []string, want string) bool {
	if list, is := v.([]any); is {
		if len(path) > 0 {
			if n, err := strconv.Atoi(path[0]); err == nil {
				return n >= 0 && n < len(list) && has(list[n], path[1:], want)
			}
		}
		return slices.ContainsFunc(list, func(element any) bool { return has(element, path, want) })
	}
	if len(path) == 0 {
		return textOf(v) == want
	}
	row, _ := v.(map[string]any)
	field, there := row[path[0]]
	if there {
		return has(field, path[1:], want)
	}
	// Keys of maps, such as labels, may have dots of their own.
	if rest, there := row[strings.Join(path, ".")]; there {
		return textOf(rest) == want
	}
	return want == ""
}

func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// OfEvent is the firing for a change.
func OfEvent(e api.Event) (api.Firing, error) {
	if len(e.Value) > maxEvent {
		e.Value = nil
	}
	text, err := json.Marshal(e)
	if err != nil {
		return api.Firing{}, err
	}
	return api.Firing{Kind: Event, Due: e.Time, Event: text, At: e.Position().String()}, nil
}
