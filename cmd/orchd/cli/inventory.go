package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// fleetKind is a kind of the inventory as the generic verbs (create, get, update,
// delete) know it.
type fleetKind struct {
	name    string   // as the API and the schemas have it
	aliases []string // lower case
	batch   int      // how many objects one request may create
	filters []string // query parameters of its list
	table   string   // of which its objects are the rows
	printer func(*App) printer
}

func (k fleetKind) path() string            { return "/inventory/" + k.name }
func (k fleetKind) one(ref string) string   { return k.path() + "/" + url.PathEscape(ref) }
func (k fleetKind) called(word string) bool { return slices.Contains(k.words(), strings.ToLower(word)) }
func (k fleetKind) words() []string         { return append([]string{strings.ToLower(k.name)}, k.aliases...) }
func (k fleetKind) many(n int) string       { return counted(n, k.name) }
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// nodeBatch is how many nodes go in one request: few enough for one answer to
// come soon, many enough for the round trip not to matter.
const nodeBatch = 1000

// fleetKinds are the kinds of the inventory. Those of the State Manager API are
// not here: they have clients of their own.
var fleetKinds = []fleetKind{
	{name: "ComputeNode", aliases: []string{"node", "nodes", "computenodes"}, batch: nodeBatch, printer: nodePrinter, table: "compute_nodes",
		filters: []string{"xname", "hostname", "arch", "boot_mac", "bmc_mac", "missingIPV4", "missingIPV6"}},
	{name: "BMC", aliases: []string{"bmcs"}, batch: 1, printer: bmcPrinter, table: "bmcs"},
	{name: "NodeCollection", aliases: []string{"collection", "collections", "nodecollections"}, batch: 1, printer: collectionPrinter, table: "node_collections", filters: []string{"node"}},
}

// fleetKindOf is the kind that a word of the command line names.
func fleetKindOf(word string) (fleetKind, error) {
	var names []string
	for _, k := range fleetKinds {
		if k.called(word) {
			return k, nil
		}
		names = append(names, k.name)
	}
	if slices.Contains([]string{"component", "redfishendpoint", "ethernetinterface"}, strings.ToLower(word)) {
		return fleetKind{}, &failure{exitUsage, word + " is a kind of the State Manager API, which this command does not speak", "use orchd api with a path below /hsm/v2"}
	}
	return fleetKind{}, unknownWord("kind", word, names)
}

// completeKind completes KIND and, behind it, ids of that kind.
func (a *App) completeKind(cmd *cobra.Command, ids int) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completeArgs(words(kindNames()), 1)(cmd, nil, typed)
		}
		k, err := fleetKindOf(args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeArgs(k.refs, ids)(cmd, args[1:], typed)
	}
}

func kindNames() (names []string) {
	for _, k := range fleetKinds {
		names = append(names, k.name)
	}
	return names
}

// refs are the ids to choose from after Tab: the first page of them.
func (k fleetKind) refs(ctx context.Context, a *App) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	var page api.Page[json.RawMessage]
	if err := c.get(ctx, k.path(), url.Values{"limit": {"1000"}}, &page); err != nil {
		return nil, err
	}
	var names []string
	for _, raw := range page.Items {
		names = append(names, k.printer(a).name(raw))
	}
	return names, nil
}

func (a *App) inventoryGet() *cobra.Command {
	var filters []string
	var follow *bool
	cmd := a.verb(verb{
		use:   "get KIND [ID]",
		short: "List or show objects of the inventory",
		long:  "List or show objects of the inventory.\nKIND is ComputeNode (node), BMC or NodeCollection (collection); ID is a UUID, an xname or a collection's name.",
		example: `
orchd get node --filter arch=arm64 -o wide
orchd get node x1000c4s4b1n1 -o yaml
orchd get collection "Partition 1" -o json`,
		min: 1, max: 2,
		run: func(ctx context.Context, args []string) error {
			k, err := fleetKindOf(args[0])
			if err != nil {
				return err
			}
			q, err := k.query(filters)
			if err != nil {
				return err
			}
			if len(args) == 1 && *follow {
				return a.watch(ctx, k.watched(a, q))
			}
			if len(args) == 1 {
				return a.listFleet(ctx, k, q)
			}
			if *follow {
				return usagef("--watch is for lists: leave out the ID")
			}
			if len(q) > 0 {
				return usagef("--filter is for lists: leave out the ID")
			}
			raw, err := show[json.RawMessage](ctx, a, k.one(args[1]))
			if err != nil {
				return err
			}
			return k.printer(a).one(a, raw)
		},
	})
	cmd.Flags().StringArrayVar(&filters, "filter", nil, "only those with KEY=VALUE; may be repeated: xname, hostname, arch, boot_mac,\nbmc_mac, missingIPV4, missingIPV6 of nodes; node of collections")
	follow = watchFlag(cmd)
	a.completeKind(cmd, 1)
	return cmd
}

// query is the filters as parameters of the list.
func (k fleetKind) query(filters []string) (url.Values, error) {
	q := url.Values{}
	for _, f := range filters {
		key, value, ok := strings.Cut(f, "=")
		if !ok && strings.HasPrefix(key, "missing") {
			value, ok = "true", true
		}
		if !ok {
			return nil, usagef("--filter wants KEY=VALUE, got %q", f)
		}
		if !slices.Contains(k.filters, key) {
			return nil, unknownWord("filter of "+k.name, key, k.filters)
		}
		q.Add(key, value)
	}
	return q, nil
}

// listFleet prints a list page by page, as it comes: there may be a million.
func (a *App) listFleet(ctx context.Context, k fleetKind, q url.Values) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	out := pages{app: a, printer: k.printer(a)}
	for q.Set("limit", "1000"); ; {
		var page api.Page[json.RawMessage]
		if err := c.get(ctx, k.path(), q, &page); err != nil {
			return err
		}
		if err := out.add(page.Items); err != nil {
			return err
		}
		if page.Next == "" {
			return out.end()
		}
		q.Set("cursor", page.Next)
	}
}

// printer prints objects of one kind.
type printer interface {
	name(raw json.RawMessage) string // what get takes as ID
	heads(a *App) []string           // of a table
	cells(a *App, raw json.RawMessage) []string
	some(a *App, raws []json.RawMessage) error
	one(a *App, raw json.RawMessage) error
	sort(raws []json.RawMessage) // in the order of a listing
}

// typed is the printer of a kind whose Go type is T.
type typed[T any] struct{ listing[T] }

func (p typed[T]) name(raw json.RawMessage) string { return p.listing.name(p.read(raw)) }

// read gives what is known of an object; fields that are not are in json and yaml only.
func (p typed[T]) read(raw json.RawMessage) (v T) {
	_ = json.Unmarshal(raw, &v) // what is no T shows as empty cells
	return v
}

func (p typed[T]) heads(a *App) []string {
	return p.row(a, func(c column[T]) string { return c.head })
}

func (p typed[T]) cells(a *App, raw json.RawMessage) []string {
	v := p.read(raw)
	return p.row(a, func(c column[T]) string { return dash(c.text(v)) })
}

// some prints objects in their order, as rows.
func (p typed[T]) some(a *App, raws []json.RawMessage) error {
	p.order = func(T, T) int { return 0 }
	var items []T
	for _, raw := range raws {
		items = append(items, p.read(raw))
	}
	return p.all(a, items)
}

func (p typed[T]) one(a *App, raw json.RawMessage) error {
	if format := a.flags.output; format == "json" || format == "yaml" {
		return printObject(a.Stdout, format, raw)
	}
	return p.listing.one(a, p.read(raw))
}

func (p typed[T]) sort(raws []json.RawMessage) {
	slices.SortStableFunc(raws, func(x, y json.RawMessage) int { return p.compare(p.read(x), p.read(y)) })
}

// pages prints a long list in pieces that make one text.
type pages struct {
	app     *App
	printer printer
	any     bool
	widths  []int // of the columns of a table, at least; the first piece may need more
}

// add prints the next objects.
func (p *pages) add(raws []json.RawMessage) error {
	if len(raws) == 0 {
		return nil
	}
	format := p.app.flags.output
	defer func() { p.any = true }()
	switch format {
	case "json":
		return p.addJSON(raws)
	case "yaml":
		return printObject(p.app.Stdout, format, raws)
	case "table", "wide":
		return p.addTable(raws)
	}
	if p.any { // the first line stands above the first piece
		before := p.app.flags.noHeaders
		p.app.flags.noHeaders = true
		defer func() { p.app.flags.noHeaders = before }()
	}
	return p.printer.some(p.app, raws)
}

func (p *pages) addJSON(raws []json.RawMessage) error {
	var text bytes.Buffer
	for i, raw := range raws {
		text.WriteString(map[bool]string{true: ",\n  ", false: "[\n  "}[p.any || i > 0])
		if err := json.Indent(&text, raw, "  ", "  "); err != nil {
			return err
		}
	}
	_, err := p.app.Stdout.Write(text.Bytes())
	return err
}

// addTable prints rows whose columns stand below those of the first piece.
func (p *pages) addTable(raws []json.RawMessage) error {
	var rows [][]string
	if !p.any && !p.app.flags.noHeaders {
		rows = append(rows, p.printer.heads(p.app))
	}
	for _, raw := range raws {
		rows = append(rows, p.printer.cells(p.app, raw))
	}
	if !p.any {
		p.widths = widthsOf(rows, p.widths)
	}
	var text strings.Builder
	for _, row := range rows {
		last := len(row) - 1
		for i, cell := range row[:last] {
			fmt.Fprintf(&text, "%-*s   ", p.widths[i], cell)
		}
		text.WriteString(row[last] + "\n")
	}
	_, err := io.WriteString(p.app.Stdout, text.String())
	return err
}

// widthsOf is how wide each column is, at least as wide as least says.
func widthsOf(rows [][]string, least []int) []int {
	widths := make([]int, len(rows[0]))
	copy(widths, least)
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// end closes the list.
func (p *pages) end() error {
	switch format := p.app.flags.output; {
	case format == "json" && p.any:
		_, err := p.app.Stdout.Write([]byte("\n]\n"))
		return err
	case !p.any:
		return p.printer.some(p.app, nil)
	}
	return nil
}

func nodePrinter(a *App) printer {
	type N = inventory.ComputeNode
	ofBMC := func(text func(*inventory.BMC) string) func(N) string {
		return func(n N) string {
			if n.BMC == nil {
				return ""
			}
			return text(n.BMC)
		}
	}
	return typed[N]{listing[N]{
		name: func(n N) string { return cmp.Or(n.XName, n.ID) },
		columns: []column[N]{
			{head: "XNAME", text: func(n N) string { return n.XName }},
			{head: "HOSTNAME", text: func(n N) string { return n.Hostname }},
			{head: "ARCH", text: func(n N) string { return n.Architecture }, key: "architecture"},
			{head: "BOOT-MAC", text: func(n N) string { return n.BootMAC }, key: "boot_mac"},
			{head: "NICS", text: func(n N) string { return number(len(n.NetworkInterfaces)) }},
			{head: "BMC", text: ofBMC(func(b *inventory.BMC) string { return cmp.Or(b.XName, b.ID) })},
			made(a, func(n N) time.Time { return n.CreatedAt }),
			{head: "BMC-MAC", wide: true, text: ofBMC(func(b *inventory.BMC) string { return b.MACAddress }), key: "bmc_mac"},
			{head: "POWER", wide: true, text: power},
			{head: "VERSION", wide: true, text: func(n N) string { return number(n.Version) }},
			{head: "ID", wide: true, text: func(n N) string { return n.ID }},
			{head: "DESCRIPTION", wide: true, text: func(n N) string { return n.Description }},
		},
	}}
}

// power is whether a node is on, as far as a controller has said.
func power(n inventory.ComputeNode) string {
	switch {
	case n.Status == nil || n.Status.PowerState == nil:
		return ""
	case n.Status.PowerState.On:
		return "on"
	}
	return "off"
}

func bmcPrinter(a *App) printer {
	type B = inventory.BMC
	return typed[B]{listing[B]{
		name: func(b B) string { return cmp.Or(b.XName, b.ID) },
		columns: []column[B]{
			{head: "XNAME", text: func(b B) string { return b.XName }},
			{head: "MAC", text: func(b B) string { return b.MACAddress }, key: "mac_address"},
			{head: "IPV4", text: func(b B) string { return b.IPv4Address }, key: "ipv4_address"},
			{head: "USERNAME", text: func(b B) string { return b.Username }},
			made(a, func(b B) time.Time { return b.CreatedAt }),
			{head: "IPV6", wide: true, text: func(b B) string { return b.IPv6Address }, key: "ipv6_address"},
			{head: "VERSION", wide: true, text: func(b B) string { return number(b.Version) }},
			{head: "ID", wide: true, text: func(b B) string { return b.ID }},
			{head: "DESCRIPTION", wide: true, text: func(b B) string { return b.Description }},
		},
	}}
}

func collectionPrinter(a *App) printer {
	type C = inventory.NodeCollection
	return typed[C]{listing[C]{
		name: func(c C) string { return c.Name },
		columns: []column[C]{
			{head: "NAME", text: func(c C) string { return c.Name }},
			{head: "TYPE", text: func(c C) string { return string(c.Type) }},
			{head: "NODES", text: func(c C) string { return number(len(c.Nodes)) }, raw: func(c C) string { return strings.Join(c.Nodes, " ") }},
			made(a, func(c C) time.Time { return c.CreatedAt }),
			{head: "CREATOR", wide: true, text: func(c C) string { return c.CreatorSubject }, key: "creator_subject"},
			{head: "VERSION", wide: true, text: func(c C) string { return number(c.Version) }},
			{head: "ID", wide: true, text: func(c C) string { return c.ID }},
			{head: "DESCRIPTION", wide: true, text: func(c C) string { return c.Description }},
		},
	}}
}

// made is the column that says how old a thing is.
func made[T any](a *App, at func(T) time.Time) column[T] {
	return column[T]{head: "AGE", text: func(v T) string { return a.age(at(v)) }, key: "created_at", raw: func(v T) string { return moment(at(v)) }}
}

func (a *App) inventoryDelete() *cobra.Command {
	cmd := a.verb(verb{
		use:   "delete KIND ID...",
		short: "Delete objects of the inventory; unknown ones are told and passed over",
		example: `
orchd delete node x1000c4s4b1n1 x1000c4s4b1n2
orchd delete collection "Partition 1"
orchd get node --filter arch=arm64 -o name | xargs orchd delete node`,
		min: 2, max: many,
		run: func(ctx context.Context, args []string) error {
			k, err := fleetKindOf(args[0])
			if err != nil {
				return err
			}
			return a.deleteFleet(ctx, k, args[1:])
		},
	})
	cmd.Aliases = []string{"rm"}
	a.completeKind(cmd, many)
	return cmd
}

func (a *App) deleteFleet(ctx context.Context, k fleetKind, refs []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	unknown := 0
	for _, ref := range refs {
		var left inventory.DeletedNode
		switch err := c.do(ctx, call{method: http.MethodDelete, path: k.one(ref), out: &left}); {
		case api.IsKind(err, api.NotFound):
			unknown++
			a.warn("%s %s: %s", k.name, ref, message(err))
		case err != nil:
			return err
		default:
			a.say("%s %s is gone", k.name, ref)
		}
		if len(left.Collections) > 0 {
			a.say("it is still listed in: %s", strings.Join(left.Collections, ", "))
		}
	}
	if unknown > 0 {
		return &failure{exitNotFound, counted(unknown, "object") + " of " + number(len(refs)) + " unknown", ""}
	}
	return nil
}

// warn writes what went wrong with one of many things to stderr, also with --quiet.
func (a *App) warn(format string, args ...any) {
	fmt.Fprintf(a.Stderr, format+"\n", args...)
}
