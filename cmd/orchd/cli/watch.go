package cli

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// watched is a list that is told again, object by object, as they change.
type watched struct {
	path    string // of the list; an object of it is below, by its id
	table   string // whose rows they are, by their ids
	query   url.Values
	printer printer
	sorted  bool // in the printer's order, which takes the whole list; else as it comes
	// again finds an object that has changed, by its id; nil when the list would not
	// hold it.
	again func(ctx context.Context, c client, id string) (json.RawMessage, error)
}

// watchFlag gives a listing the flag --watch. What it points to is set once the
// flags are read.
func watchFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().BoolP("watch", "w", false, "go on with a line for each change, until interrupted; what is gone is said on stderr")
}

// identity is what all objects have that are watched; the xname only nodes and BMCs.
type identity struct {
	ID      string `json:"id"`
	XName   string `json:"xname"`
	Version uint64 `json:"version"`
}

// told is what has been printed of an object.
type told struct {
	name    string
	version uint64
}

// watch is the work of one listing with --watch.
type watch struct {
	watched
	client client
	out    *feed
	told   map[string]told // by id
}

// watch prints a list, and then each of its objects that changes. The events begin
// behind the first page, so that nothing falls between; what changed while the
// pages were read has the version that was printed and is not told twice.
func (a *App) watch(ctx context.Context, what watched) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	w := &watch{watched: what, client: c, out: a.newFeed(what.printer, nil), told: map[string]told{}}
	index, err := w.list(ctx)
	if err != nil {
		return err
	}
	filter := api.EventFilter{Tables: []string{what.table}}
	for e, err := range c.api.Events(ctx, api.After(index), filter, true, c.options(call{method: http.MethodGet})...) {
		if err != nil {
			return c.cut(ctx, err)
		}
		if err := w.changed(ctx, e.Key); err != nil {
			return err
		}
	}
	return nil
}

// list prints the list, and gives the log index of its first page.
func (w *watch) list(ctx context.Context) (index uint64, err error) {
	var all []json.RawMessage
	first, err := w.client.pages(ctx, w.path, w.query, func(items []json.RawMessage) error {
		if w.sorted {
			all = append(all, items...)
			return nil
		}
		return w.tell(items...)
	})
	if err != nil {
		return 0, err
	}
	w.printer.sort(all)
	return first.Index, w.tell(all...)
}

// pages reads a list page by page, and gives what was said with the first.
func (c client) pages(ctx context.Context, path string, q url.Values, each func([]json.RawMessage) error) (first api.Answer, err error) {
	q = maps.Clone(q)
	if q == nil {
		q = url.Values{}
	}
	q.Set("limit", "1000")
	for n := 0; ; n++ {
		var page api.Page[json.RawMessage]
		var answer api.Answer
		if err := c.do(ctx, call{method: http.MethodGet, path: path, query: q, out: &page, answer: &answer}); err != nil {
			return first, err
		}
		if n == 0 {
			first = answer
		}
		if err := each(page.Items); err != nil {
			return first, err
		}
		if page.Next == "" {
			return first, nil
		}
		q.Set("cursor", page.Next)
	}
}

// tell prints objects whose version has not been printed.
func (w *watch) tell(raws ...json.RawMessage) error {
	var fresh []json.RawMessage
	for _, raw := range raws {
		var o identity
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		now := told{w.printer.name(raw), o.Version}
		if w.told[o.ID] != now {
			w.told[o.ID] = now
			fresh = append(fresh, raw)
		}
	}
	return w.out.addRaw(fresh...)
}

// changed looks again at an object.
func (w *watch) changed(ctx context.Context, id string) error {
	raw, err := w.again(ctx, w.client, id)
	switch {
	case err != nil && !api.IsKind(err, api.NotFound):
		return err
	case err == nil && raw != nil:
		return w.tell(raw)
	}
	if before, listed := w.told[id]; listed {
		w.client.app.say("%s is gone", before.name)
		delete(w.told, id)
	}
	return nil
}

// below finds an object by its id below the path of its list; keep says whether the
// list would hold it, nil: it would.
func below[T any](path string, keep func(T) bool) func(context.Context, client, string) (json.RawMessage, error) {
	return func(ctx context.Context, c client, id string) (json.RawMessage, error) {
		var raw json.RawMessage
		if err := c.get(ctx, path+"/"+url.PathEscape(id), nil, &raw); err != nil || keep == nil {
			return raw, err
		}
		var v T
		if err := json.Unmarshal(raw, &v); err != nil || !keep(v) {
			return nil, err
		}
		return raw, nil
	}
}

// peerLook is how often the peers are looked at: their health is no row whose
// changes could be followed.
const peerLook = 2 * time.Second

// watchPeers prints the peers, and then each whose line in the table has changed.
func (a *App) watchPeers(ctx context.Context) error {
	l := a.peers()
	out, shown := a.newFeed(typed[api.PeerView]{l}, nil), map[string]string{}
	for {
		items, err := list[api.PeerView](ctx, a, "/v1/peers", nil)
		if err != nil {
			return err
		}
		slices.SortFunc(items, l.compare)
		var fresh []any
		for _, p := range items {
			if line := l.line(p); shown[p.ID] != line {
				shown[p.ID] = line
				fresh = append(fresh, p)
			}
		}
		if err := out.add(fresh...); err != nil {
			return err
		}
		for id := range shown {
			if !slices.ContainsFunc(items, func(p api.PeerView) bool { return p.ID == id }) {
				a.say("%s is gone", id)
				delete(shown, id)
			}
		}
		if err := pause(ctx, peerLook); err != nil {
			return err
		}
	}
}

// line is what the table shows of an item.
func (l listing[T]) line(item T) string {
	var cells []string
	for _, c := range l.columns {
		if !c.wide {
			cells = append(cells, c.text(item))
		}
	}
	return strings.Join(cells, "\t")
}
