package cli

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
)

// watched is the list of objects of a kind that q asks for.
func (k fleetKind) watched(a *App, q url.Values) watched {
	again := below[json.RawMessage](k.path(), nil)
	if len(q) > 0 {
		again = k.amongFiltered(q)
	}
	return watched{path: k.path(), table: k.table, query: q, printer: k.printer(a), again: again}
}

// amongFiltered finds an object by its id in the list that q asks for, so that the
// peer judges what its filters mean. The xname of a node makes that list short.
func (k fleetKind) amongFiltered(q url.Values) func(context.Context, client, string) (json.RawMessage, error) {
	return func(ctx context.Context, c client, id string) (json.RawMessage, error) {
		var o identity
		if err := c.get(ctx, k.one(id), nil, &o); err != nil {
			return nil, err
		}
		narrow := maps.Clone(q)
		if k.table == "compute_nodes" && o.XName != "" && !q.Has("xname") {
			narrow.Set("xname", o.XName)
		}
		var found json.RawMessage
		_, err := c.pages(ctx, k.path(), narrow, func(items []json.RawMessage) error {
			for _, raw := range items {
				var o identity
				if json.Unmarshal(raw, &o) == nil && o.ID == id {
					found = raw
				}
			}
			return nil
		})
		return found, err
	}
}
