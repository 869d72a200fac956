package nameserver

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
)

// Who keeps the names, and under which keys: see sysvc/builtin/registry.
const (
	registryAlias = "registry"
	namePrefix    = "name/"
	vmsAlias      = "registry-vms"
	vmPrefix      = "vm/"
)

// Cluster is what Registry reads. It is a state.Cluster.
type Cluster interface {
	View() state.View
	Now() time.Time
}

// Registry reads the names that the package registry keeps, as this peer knows them: it
// runs no script, and answers without a quorum.
type Registry struct{ Cluster Cluster }

// entry is what the package keeps of a name.
type entry struct {
	Addresses []string `json:"addresses"`
	ExpiresAt int64    `json:"expires_at"` // seconds since 1970; 0: with its VM
}

// Lookup is a Lookup.
func (r Registry) Lookup(_ context.Context, name string) ([]netip.Addr, bool, error) {
	view := r.Cluster.View()
	store, prefix := place(view, strings.HasSuffix(name, ".vm"))
	kept, there := view.KV(store, prefix+name)
	if store == "" || !there {
		return nil, false, nil
	}
	var e entry
	if err := json.Unmarshal([]byte(kept.Text), &e); err != nil {
		return nil, false, err
	}
	if e.ExpiresAt != 0 && e.ExpiresAt <= r.Cluster.Now().Unix() {
		return nil, false, nil
	}
	var found []netip.Addr
	for _, text := range e.Addresses {
		if addr, err := netip.ParseAddr(text); err == nil {
			found = append(found, addr)
		}
	}
	return found, true, nil
}

// Beneath tells whether there are names that end in a dot and this one.
func (r Registry) Beneath(name string) bool {
	view := r.Cluster.View()
	store, prefix := place(view, name == "vm" || strings.HasSuffix(name, ".vm"))
	if store == "" {
		return false
	}
	for kept := range view.KVs(store, prefix) {
		if strings.HasSuffix(kept.Key, "."+name) {
			return true
		}
	}
	return false
}

// place is the store that names are in, and what their keys begin with there. No store:
// the package is not here.
func place(view state.View, ofVM bool) (store, prefix string) {
	if ofVM {
		spell, _ := view.SpellAt(api.ScopeCluster, vmsAlias)
		return spell.ID, vmPrefix
	}
	service, _ := view.ServiceAt(api.ScopeCluster, registryAlias)
	return service.Store, namePrefix
}
