package deploy

import (
	"cmp"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/pack"
)

// Peers that were told otherwise about a package of the cluster would undo each other's
// work. So each says in its row what it wants before it changes anything, and one of
// them has the say: who wants the newest version, and of those who said so last (Order).

// rowsHere are the rows of the package in the scope in which this peer wants it.
func (m matter) rowsHere() (rows []api.Deployment) {
	for _, d := range m.p.rows {
		if d.Scope == m.want.scope {
			rows = append(rows, d)
		}
	}
	return rows
}

// last are the rows of peers that enable the package and said so last. None: nobody
// does, or somebody who does no longer said something later.
func (m matter) last() (rows []api.Deployment) {
	order := m.highest()
	for _, d := range m.rowsHere() {
		if d.Enabled && d.Order == order {
			rows = append(rows, d)
		}
	}
	return rows
}

func (m matter) highest() (order uint64) {
	for _, d := range m.rowsHere() {
		order = max(order, d.Order)
	}
	return order
}

// agreed tells whether who spoke last wants what this peer wants.
func (m matter) agreed() bool {
	last := m.last()
	return len(last) > 0 && !slices.ContainsFunc(last, func(d api.Deployment) bool { return d.Digest != m.want.digest })
}

// initialised tells whether init has succeeded with the configuration that this peer has.
func (m matter) initialised() bool {
	return m.agreed() && slices.ContainsFunc(m.last(), func(d api.Deployment) bool { return d.Init == m.want.init })
}

// order is the one to announce with: of those who want the same, or above all.
func (m matter) order() uint64 {
	if m.want.scope != api.ScopeCluster || m.agreed() {
		return m.highest()
	}
	return m.highest() + 1
}

// announced tells whether this peer has said that it wants what it wants.
func (m matter) announced() bool {
	return m.known && m.own.Enabled && m.own.Scope == m.want.scope && m.own.Digest == m.want.digest
}

func unfinished(d api.Deployment) bool { return d.Deploying || d.State == api.PackageFailed }

// rival is who of the other peers has most of a say; those count not that ended in the
// middle and are away.
func (m matter) rival() (api.Deployment, bool) {
	others := slices.DeleteFunc(m.rowsHere(), func(d api.Deployment) bool {
		return d.Peer == m.w.self || !d.Enabled || unfinished(d) && !m.p.alive[d.Peer]
	})
	if len(others) == 0 {
		return api.Deployment{}, false
	}
	return slices.MaxFunc(others, bySay), true
}

func bySay(a, b api.Deployment) int {
	return cmp.Or(pack.Newer(a.Version, b.Version), cmp.Compare(a.Order, b.Order), cmp.Compare(a.Peer, b.Peer))
}

// mayAct tells whether this peer may make the package what it wants. Who has not said
// yet what it wants may, unless that is older than what another one wants.
func (m matter) mayAct() bool {
	rival, is := m.rival()
	switch {
	case m.want.scope != api.ScopeCluster || !is || rival.Digest == m.want.digest:
		return true
	case m.announced():
		return bySay(m.own, rival) > 0
	}
	return pack.Newer(m.want.Version, rival.Version) >= 0
}

// inOtherHands tells whether another peer is at it that wants the same: what is
// initialised once need not be initialised by all. Two that are at it already, because
// they began at once, go on with the one that has the say.
func (m matter) inOtherHands() bool {
	return m.want.scope == api.ScopeCluster && slices.ContainsFunc(m.rowsHere(), func(d api.Deployment) bool {
		return d.Peer != m.w.self && d.Enabled && d.Deploying && m.p.alive[d.Peer] && d.Digest == m.want.digest &&
			(!m.own.Deploying || bySay(d, m.own) > 0)
	})
}

// why says why this peer may not act.
func (m matter) why() string {
	rival, _ := m.rival()
	if pack.Newer(rival.Version, m.want.Version) > 0 {
		return "other peers run version " + rival.Version + " of it, which is newer"
	}
	return "other peers run it with other settings"
}

// blocked says why what there is of the package in the cluster's scope stays although
// this peer does not want it there. Empty: it can go.
func (m matter) blocked() string {
	why := ""
	for _, d := range m.p.rows {
		switch {
		case d.Peer == m.w.self || d.Scope != api.ScopeCluster:
		case d.Enabled:
			return "other peers enable it: it stays"
		case d.State == api.PackageExisting:
			why = "another peer leaves it as it is (keep_disabled): it stays"
		}
	}
	return why
}
