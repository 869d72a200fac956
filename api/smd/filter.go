package smd

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// Query is what a client asks of a list: the values of each key, which is in
// lower case. The values of one key are alternatives, those that begin with !
// are ruled out, and all keys must hold. Keys that a list does not know say nothing.
type Query map[string][]string

// QueryOf takes keys in any case.
func QueryOf(values map[string][]string) Query {
	q := Query{}
	for key, list := range values {
		key = strings.ToLower(key)
		q[key] = append(q[key], list...)
	}
	return q
}

// On tells whether a key is there and true.
func (q Query) On(key string) bool {
	return slices.ContainsFunc(q[key], func(v string) bool { on, err := strconv.ParseBool(v); return err == nil && on })
}

// Wanted are the values of a key when a row must have one of them; nil when
// nothing is asked for by it.
func (q Query) Wanted(key string) (list []string) {
	for _, v := range q[key] {
		if v != "" && !strings.HasPrefix(v, "!") {
			list = append(list, v)
		}
	}
	return list
}

// Filter keeps a row or does not; the zero Filter keeps all.
type Filter[T any] struct{ tests []func(*T) bool }

// Keeps tells whether a row passes.
func (f *Filter[T]) Keeps(row *T) bool {
	for _, test := range f.tests {
		if !test(row) {
			return false
		}
	}
	return true
}

// normal gives the form in which the values of a key are compared, or what one should be like.
type normal func(value string) (form string, expected string)

// choice is what one key of a query asks for.
type choice struct{ any, none map[string]bool }

// chosen reads the values of a key; ok is false when nothing is asked for.
func chosen(q Query, key string, form normal) (c choice, ok bool, err error) {
	c = choice{map[string]bool{}, map[string]bool{}}
	for _, value := range q[key] {
		into := c.any
		value, not := strings.CutPrefix(value, "!")
		if not {
			into = c.none
		}
		if value == "" {
			continue
		}
		v, expected := form(value)
		if expected != "" {
			return c, false, badQuery(key, expected)
		}
		into[v] = true
	}
	return c, len(c.any)+len(c.none) > 0, nil
}

// holds tells whether a value in its form is what is asked for.
func (c choice) holds(v string) bool { return !c.none[v] && (len(c.any) == 0 || c.any[v]) }

// among tells the same of a row that has several values.
func (c choice) among(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return c.none[v] }) &&
		(len(c.any) == 0 || slices.ContainsFunc(values, func(v string) bool { return c.any[v] }))
}

// field is a key that asks for one field of a row.
type field[T any] struct {
	key  string
	form normal
	of   func(*T) string // in its form
}

// compile makes a filter of the fields that a query asks for.
func compile[T any](q Query, fields []field[T]) (f Filter[T], err error) {
	for _, fd := range fields {
		c, asked, err := chosen(q, fd.key, fd.form)
		if err != nil {
			return f, err
		}
		if asked {
			f.tests = append(f.tests, func(row *T) bool { return c.holds(fd.of(row)) })
		}
	}
	return f, nil
}

// badQuery is the failure of one key of a query.
func badQuery(key, expected string) error {
	return &api.Error{Kind: api.Malformed, Op: "query", Msg: "a parameter is not valid: see errors",
		Fields: []api.FieldError{{Pointer: "/query/" + key, Detail: "expected " + expected}}}
}

// The forms of values.

func exact(v string) (string, string)  { return v, "" }
func folded(v string) (string, string) { return strings.ToLower(v), "" }

func name(v string) (string, string) {
	if !xname.ValidComponent(v) {
		return "", "the xname of a component"
	}
	return xname.Canonical(v), ""
}

func word(list []string) normal {
	return func(v string) (string, string) {
		if w, ok := Spelled(v, list); ok {
			return w, ""
		}
		return "", "one of " + strings.Join(list, ", ")
	}
}

func yesNo(v string) (string, string) {
	on, err := strconv.ParseBool(strings.ToLower(v))
	if err != nil {
		return "", "true or false"
	}
	return strconv.FormatBool(on), ""
}

func macForm(v string) (string, string) {
	if key := inventory.MACKey(v); key != "" {
		return key, ""
	}
	return "", "a MAC address"
}

func address(v string) (string, string) {
	a, err := netip.ParseAddr(v)
	if err != nil {
		return "", "an IPv4 or IPv6 address"
	}
	return a.String(), ""
}

// is tells a flag that is set unless it says otherwise.
func is(flag *bool) string { return strconv.FormatBool(flag == nil || *flag) }

var componentFields = []field[Component]{
	{"id", name, func(c *Component) string { return xname.Canonical(c.ID) }},
	{"type", word(types), func(c *Component) string { return c.Type }},
	{"state", word(States), func(c *Component) string { return c.State }},
	{"flag", word(Flags), func(c *Component) string { return c.Flag }},
	{"enabled", yesNo, func(c *Component) string { return is(c.Enabled) }},
	{"role", word(Roles), func(c *Component) string { return c.Role }},
	{"subrole", word(SubRoles), func(c *Component) string { return c.SubRole }},
	{"nettype", word(NetTypes), func(c *Component) string { return c.NetType }},
	{"arch", word(Archs), func(c *Component) string { return c.Arch }},
	{"class", word(Classes), func(c *Component) string { return c.Class }},
	{"softwarestatus", folded, func(c *Component) string { return strings.ToLower(c.SoftwareStatus) }},
	{"subtype", folded, func(c *Component) string { return strings.ToLower(c.Subtype) }},
	{"reservationdisabled", yesNo, func(c *Component) string { return strconv.FormatBool(c.ReservationDisabled) }},
	{"locked", yesNo, func(c *Component) string { return strconv.FormatBool(c.Locked) }},
}

// noGroup is the value of group and partition that asks for components in none.
const noGroup = "NULL"

// ComponentFilter is the filter of a list of components. in says what a component
// is in; it is asked only when the query is about groups or partitions.
func ComponentFilter(q Query, in func(id string) Membership) (Filter[Component], error) {
	f, err := compile(q, componentFields)
	if err != nil {
		return f, err
	}
	if err := addNIDs(&f, q); err != nil {
		return f, err
	}
	groups, byGroup, _ := chosen(q, "group", exact)
	partitions, byPartition, _ := chosen(q, "partition", exact)
	if byGroup || byPartition {
		f.tests = append(f.tests, func(c *Component) bool {
			m := in(c.ID)
			return groups.among(orNone(m.GroupLabels)) && partitions.holds(orNone([]string{m.PartitionName})[0])
		})
	}
	return f, nil
}

// orNone gives what is in nothing the value that queries have for that.
func orNone(labels []string) []string {
	if len(labels) == 0 || labels[0] == "" {
		return []string{noGroup}
	}
	return labels
}

// addNIDs adds what a query asks of NIDs: some of them, all but some, or ranges
// of them, the k-th nid_start with the k-th nid_end. One end may be open.
func addNIDs(f *Filter[Component], q Query) error {
	ranges, err := rangesOf(q)
	if err != nil {
		return err
	}
	none := map[int64]bool{}
	for _, value := range q["nid"] {
		value, not := strings.CutPrefix(value, "!")
		if value == "" {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil || n < 0:
			return badQuery("nid", "a whole number")
		case not:
			none[n] = true
		default:
			ranges = append(ranges, [2]int64{n, n})
		}
	}
	if len(ranges)+len(none) == 0 {
		return nil
	}
	ranges = united(ranges)
	f.tests = append(f.tests, func(c *Component) bool {
		if c.NID == nil {
			return len(ranges) == 0
		}
		return !none[*c.NID] && (len(ranges) == 0 || within(ranges, *c.NID))
	})
	return nil
}

// united are the same ranges in order, with none that reaches into the next, so that
// a query may have very many.
func united(ranges [][2]int64) (apart [][2]int64) {
	slices.SortFunc(ranges, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	for _, r := range ranges {
		if last := len(apart) - 1; last >= 0 && r[0] <= apart[last][1] {
			apart[last][1] = max(apart[last][1], r[1])
			continue
		}
		apart = append(apart, r)
	}
	return apart
}

// within tells whether n is in one of united ranges.
func within(ranges [][2]int64, n int64) bool {
	_, found := slices.BinarySearchFunc(ranges, n, func(r [2]int64, n int64) int {
		switch {
		case r[1] < n:
			return -1
		case r[0] > n:
			return 1
		}
		return 0
	})
	return found
}

// rangesOf are the ranges of NIDs in a query, first and last.
func rangesOf(q Query) (ranges [][2]int64, err error) {
	starts, ends := q["nid_start"], q["nid_end"]
	for i := range max(len(starts), len(ends)) {
		r := [2]int64{0, 1<<63 - 1}
		for end, list := range [2][]string{starts, ends} {
			if i >= len(list) || list[i] == "" {
				continue
			}
			if r[end], err = strconv.ParseInt(list[i], 10, 64); err != nil || r[end] < 0 {
				return nil, badQuery([2]string{"nid_start", "nid_end"}[end], "a whole number")
			}
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// NIDRanges adds ranges written as 1-10 or 5 to a query.
func (q Query) NIDRanges(list []string) error {
	for i, text := range list {
		from, to, isRange := strings.Cut(strings.TrimSpace(text), "-")
		if !isRange {
			to = from
		}
		_, err1 := strconv.ParseUint(from, 10, 63)
		_, err2 := strconv.ParseUint(to, 10, 63)
		if err1 != nil || err2 != nil {
			return Bad(fmt.Sprintf("/NIDRanges/%d", i), "expected a range of NIDs, as 1-10 or 5")
		}
		q["nid_start"] = append(q["nid_start"], from)
		q["nid_end"] = append(q["nid_end"], to)
	}
	return nil
}

// Under keeps the components that stand at or below one of some places; s0 and
// all are above everything.
func (f *Filter[T]) Under(places []string, id func(*T) string) {
	at := map[string]bool{}
	for _, p := range places {
		p = xname.Canonical(p)
		if p == "s0" || p == "all" {
			return
		}
		at[p] = true
	}
	f.tests = append(f.tests, func(row *T) bool {
		name := xname.Canonical(id(row))
		for end := len(name); end > 0; end-- {
			// A name goes on below a place with a letter: x1c0s10 is not below x1c0s1.
			if (end == len(name) || name[end] >= 'a') && at[name[:end]] {
				return true
			}
		}
		return false
	})
}

// Shown leaves of a component what a query asks to see: stateonly, flagonly, roleonly, nidonly.
func Shown(q Query) func(Component) Component {
	state, flag, role, nid := q.On("stateonly"), q.On("flagonly"), q.On("roleonly"), q.On("nidonly")
	if !state && !flag && !role && !nid {
		return func(c Component) Component { return c }
	}
	return func(c Component) Component {
		short := Component{ID: c.ID, Type: c.Type}
		if state {
			short.State = c.State
		}
		if state || flag {
			short.Flag = c.Flag
		}
		if role {
			short.Role, short.SubRole = c.Role, c.SubRole
		}
		if nid {
			short.NID = c.NID
		}
		return short
	}
}

// RedfishFilter is the filter of a list of Redfish endpoints.
func RedfishFilter(q Query) (Filter[RedfishEndpoint], error) {
	return compile(q, []field[RedfishEndpoint]{
		{"id", name, func(e *RedfishEndpoint) string { return xname.Canonical(e.ID) }},
		{"type", word(types), func(e *RedfishEndpoint) string { return e.Type }},
		{"fqdn", folded, func(e *RedfishEndpoint) string { return strings.ToLower(e.FQDN) }},
		{"uuid", folded, func(e *RedfishEndpoint) string { return strings.ToLower(e.UUID) }},
		{"macaddr", macForm, func(e *RedfishEndpoint) string { return inventory.MACKey(e.MACAddr) }},
		{"ipaddress", address, func(e *RedfishEndpoint) string { a, _ := address(e.IPAddress); return a }},
		{"lastdiscoverystatus", word(DiscoveryStatuses), func(e *RedfishEndpoint) string {
			if e.DiscoveryInfo == nil {
				return ""
			}
			return e.DiscoveryInfo.LastStatus
		}},
	})
}

// ComponentEndpointFilter is the filter of a list of component endpoints.
func ComponentEndpointFilter(q Query) (Filter[ComponentEndpoint], error) {
	return compile(q, []field[ComponentEndpoint]{
		{"id", name, func(e *ComponentEndpoint) string { return xname.Canonical(e.ID) }},
		{"redfish_ep", name, func(e *ComponentEndpoint) string { return xname.Canonical(e.RedfishEndpointID) }},
		{"type", word(types), func(e *ComponentEndpoint) string { return e.Type }},
		{"redfish_type", folded, func(e *ComponentEndpoint) string { return strings.ToLower(e.RedfishType) }},
	})
}

// InterfaceFilter is the filter of a list of interfaces.
func InterfaceFilter(q Query) (Filter[EthernetInterface], error) {
	f, err := compile(q, []field[EthernetInterface]{
		{"macaddress", macForm, func(i *EthernetInterface) string { return inventory.MACKey(i.MACAddress) }},
		{"componentid", name, func(i *EthernetInterface) string { return xname.Canonical(i.ComponentID) }},
		{"type", word(types), func(i *EthernetInterface) string { return i.Type }},
	})
	if err != nil {
		return f, err
	}
	if err := addAddresses(&f, q, "ipaddress", address, func(a IPAddress) string { s, _ := address(a.IPAddress); return s }); err != nil {
		return f, err
	}
	if err := addAddresses(&f, q, "network", folded, func(a IPAddress) string { return strings.ToLower(a.Network) }); err != nil {
		return f, err
	}
	if err := addTime(&f, q, "olderthan", time.Time.Before); err != nil {
		return f, err
	}
	return f, addTime(&f, q, "newerthan", time.Time.After)
}

// addAddresses adds what a query asks of the addresses of an interface.
func addAddresses(f *Filter[EthernetInterface], q Query, key string, form normal, of func(IPAddress) string) error {
	c, asked, err := chosen(q, key, form)
	if err != nil || !asked {
		return err
	}
	f.tests = append(f.tests, func(i *EthernetInterface) bool {
		var values []string
		for _, a := range i.IPAddresses {
			values = append(values, of(a))
		}
		return c.among(values)
	})
	return nil
}

// addTime adds what a query asks of when an interface was last changed (RFC 3339).
func addTime(f *Filter[EthernetInterface], q Query, key string, fits func(time.Time, time.Time) bool) error {
	for _, value := range q[key] {
		if value == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return badQuery(key, "a time as 2026-01-02T03:04:05Z")
		}
		f.tests = append(f.tests, func(i *EthernetInterface) bool { return fits(i.LastUpdate, at) })
	}
	return nil
}
