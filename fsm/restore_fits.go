package fsm

import (
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
	"github.com/orchd/orchd/api/xname"
)

// rollbackTables are the tables that a rollback covers: the inventory, the catalogues,
// services, spells and their values. Never VMs, leases, operations, requests, tokens,
// accounts, usage, peers, settings, deals or the runs of spells, nor the content of
// images, which no snapshot holds.
//
// What the commands of a table promise about it and others beside it, its fits
// function sees to. Two rows that are not touched keep each promise by themselves,
// so it is enough to look from each touched row at its neighbours: at those that
// it names, and at those that named what it was.
var rollbackTables = []anyRestorable{
	&restorable[api.Size]{table: sizes,
		stamps: func(s *api.Size) (*uint64, *time.Time) { return &s.Version, &s.UpdatedAt }},
	&restorable[api.SSHKey]{table: sshKeys, fits: sshKeyFits, kept: ofNoAccount,
		stamps: func(k *api.SSHKey) (*uint64, *time.Time) { return &k.Version, nil }},
	&restorable[api.Image]{table: images, fits: imageFits, kept: imageStays,
		stamps: func(i *api.Image) (*uint64, *time.Time) { return &i.Version, &i.UpdatedAt }},
	&restorable[api.Network]{table: networks, fits: networkFits, kept: hasVMs,
		stamps: func(n *api.Network) (*uint64, *time.Time) { return &n.Version, &n.UpdatedAt }},
	&restorable[computeNode]{table: computeNodes, fits: nodeFits, names: (*computeNode).addresses,
		stamps: func(n *computeNode) (*uint64, *time.Time) { return &n.Version, &n.UpdatedAt }},
	&restorable[bmc]{table: bmcs, fits: bmcFits, names: (*bmc).addresses,
		stamps: func(b *bmc) (*uint64, *time.Time) { return &b.Version, &b.UpdatedAt }},
	&restorable[collection]{table: collections, fits: collectionFits,
		stamps: func(c *collection) (*uint64, *time.Time) { return &c.Version, &c.UpdatedAt }},
	&restorable[component]{table: components, fits: componentFits,
		stamps: func(*component) (*uint64, *time.Time) { return nil, nil }},
	&restorable[redfishEndpoint]{table: redfishEndpoints, fits: endpointFits, names: (*redfishEndpoint).addresses,
		stamps: func(*redfishEndpoint) (*uint64, *time.Time) { return nil, nil }},
	&restorable[componentEndpoint]{table: componentEndpoints, fits: componentEndpointFits,
		stamps: func(*componentEndpoint) (*uint64, *time.Time) { return nil, nil }},
	&restorable[ethernetInterface]{table: ethernetInterfaces, fits: interfaceFits, names: (*ethernetInterface).addresses,
		stamps: func(i *ethernetInterface) (*uint64, *time.Time) { return nil, &i.LastUpdate }},
	&restorable[api.Service]{table: services, fits: serviceFits, kept: serviceStays, stamps: serviceStamps},
	&restorable[api.Spell]{table: spells, fits: spellFits, kept: spellStays, settles: spellSettles, stamps: spellStamps},
	&restorable[api.KVEntry]{table: spellKV, fits: valueFits, kept: valueStays, stamps: valueStamps},
}

// ofNoAccount tells whether the account of a key is gone: accounts are not brought back.
func ofNoAccount(r Reader, k *api.SSHKey) bool {
	_, there := accounts.one(r, k.Account)
	return !there
}

// sshKeyFits: a key has an account.
func sshKeyFits(tx *Txn, _, is *api.SSHKey) error {
	if is != nil && ofNoAccount(tx.Reader, is) {
		return contradiction("its account %q is not there", is.Account)
	}
	return nil
}

// imageStays tells whether a rollback leaves an image alone: one whose content orchd
// keeps, which is not in the snapshot; one of an account that is gone; and one that
// has, or would take, the name of such a one or of one that VMs boot from.
func imageStays(r Reader, i *api.Image) bool {
	if _, there := accounts.one(r, i.Account); i.Kept() || !there && i.Account != "" {
		return true
	}
	named, taken := images.with(r, "name", i.Name)
	_, used := vms.with(r, "image", i.Name)
	return taken && (used || named.Kept())
}

// imageFits: an image of which VMs have the name stays, as does one whose content is
// kept, no two have one name, and one that belongs to an account has it.
func imageFits(tx *Txn, was, is *api.Image) error {
	for _, i := range []*api.Image{was, is} {
		if i != nil && i.Kept() {
			return contradiction("its content is kept by peers")
		}
	}
	if was != nil {
		if vm, used := vms.with(tx.Reader, "image", was.Name); used {
			return contradiction("VM %s/%s boots from it", vm.Account, vm.Name)
		}
	}
	if is == nil {
		return nil
	}
	if _, there := accounts.one(tx.Reader, is.Account); !there && is.Account != "" {
		return contradiction("its account %q is not there", is.Account)
	}
	for other := range images.all(tx.Reader, "name", is.Name) {
		if other.ID != is.ID {
			return contradiction("image %s has the name %q too", other.ID, is.Name)
		}
	}
	return nil
}

// hasVMs tells whether VMs are on a network, or on one whose name it has.
func hasVMs(r Reader, n *api.Network) bool {
	named, _ := networks.holder(r, "name", n.Name)
	return leasesIn(r, n.ID) || named != nil && leasesIn(r, named.ID)
}

// networkFits: a network that VMs are on stays.
func networkFits(tx *Txn, was, _ *api.Network) error {
	if was != nil && leasesIn(tx.Reader, was.ID) {
		return contradiction("VMs are on it")
	}
	return nil
}

// nodeFits: a node names a BMC that is there, its MAC addresses are no other's, and
// nothing is left of what only it implied.
func nodeFits(tx *Txn, was, is *computeNode) error {
	if was != nil {
		if err := tx.impliedStill(was.XName); err != nil {
			return err
		}
		if err := tx.inferredStill(was.BMC); err != nil {
			return err
		}
	}
	if is == nil {
		return nil
	}
	if _, there := bmcs.one(tx.Reader, is.BMC); !there && is.BMC != "" {
		return contradiction("its BMC %s is not there", is.BMC)
	}
	for _, mac := range is.macs() {
		if err := tx.freeMAC(restoreOp, is.ID, "", mac); err != nil {
			return err
		}
		if err := tx.freeInterface(restoreOp, is.XName, mac); err != nil {
			return err
		}
	}
	return nil
}

// bmcFits: a BMC that goes is no node's, and the MAC address of one is no other's.
func bmcFits(tx *Txn, was, is *bmc) error {
	if was != nil {
		if err := tx.impliedStill(was.XName); err != nil {
			return err
		}
	}
	if is == nil {
		if n, named := computeNodes.with(tx.Reader, "bmc", was.ID); named {
			return contradiction("it is the BMC of ComputeNode %s (%s)", n.ID, n.Hostname)
		}
		return nil
	}
	if err := tx.inferredStill(is.ID); err != nil {
		return err
	}
	if err := tx.freeMAC(restoreOp, "", is.ID, is.MAC); err != nil || is.XName == "" {
		return err
	}
	return tx.freeInterface(restoreOp, is.XName, is.MAC)
}

// collectionFits: the nodes of a collection may be in it.
func collectionFits(tx *Txn, _, is *collection) error {
	if is == nil {
		return nil
	}
	return tx.unassigned(restoreOp, *is)
}

// componentFits: a row that something implied has that.
func componentFits(tx *Txn, _, is *component) error {
	if is == nil {
		return nil
	}
	return tx.impliedStill(is.ID)
}

// endpointFits: no component is said to be behind an endpoint that goes.
func endpointFits(tx *Txn, was, is *redfishEndpoint) error {
	if is != nil {
		return nil
	}
	if e, said := componentEndpoints.with(tx.Reader, "endpoint", xname.Canonical(was.ID)); said {
		return contradiction("ComponentEndpoint %s is behind it", e.ID)
	}
	return nil
}

// componentEndpointFits: the endpoint that said it is there.
func componentEndpointFits(tx *Txn, _, is *componentEndpoint) error {
	if is == nil {
		return nil
	}
	if _, there := redfishEndpoints.one(tx.Reader, xname.Canonical(is.Endpoint)); !there {
		return contradiction("its RedfishEndpoint %s is not there", is.Endpoint)
	}
	return nil
}

// interfaceFits: the node or the BMC that has the MAC address is the one it names.
func interfaceFits(tx *Txn, _, is *ethernetInterface) error {
	if is == nil {
		return nil
	}
	n, ofNode := computeNodes.holder(tx.Reader, "mac", is.ID)
	if ofNode && is.ComponentID != "" && xname.Canonical(is.ComponentID) != xname.Canonical(n.XName) {
		return contradiction("the MAC address %s is that of ComputeNode %s (%s), not of %s", inventory.Colons(is.ID), n.ID, n.Hostname, is.ComponentID)
	}
	return tx.sameBoard(restoreOp, *is)
}

// impliedStill refuses a component that a ComputeNode or BMC implied which is gone.
func (tx *Txn) impliedStill(name string) error {
	key := xname.Canonical(name)
	c, there := components.one(tx.Reader, key)
	if !there || !c.Implied {
		return nil
	}
	if _, still := tx.impliedComponent(key); !still {
		return contradiction("component %s would be left of it", c.ID)
	}
	return nil
}

// inferredStill refuses a BMC that nodes implied of which none is left.
func (tx *Txn) inferredStill(id string) error {
	b, there := bmcs.one(tx.Reader, id)
	if !there || !b.Inferred {
		return nil
	}
	if _, named := computeNodes.with(tx.Reader, "bmc", id); !named {
		return contradiction("BMC %s would be left of it", id)
	}
	return nil
}
