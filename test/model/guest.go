package model

import (
	"fmt"
	"slices"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// guest is the life of VMs: who owns which epoch of them, and what they take.
func (m *Model) guest(c Command, got fsm.Result, is fsm.Reader) {
	switch c.Type {
	case createVM:
		if got.Err == nil {
			m.place(c, got.Key, is)
		}
	case actOnVM:
		m.act(c, got, is)
	case reassignVM:
		m.reassign(c, got, is)
	default:
		m.byOwner(c, got, is)
	}
}

// place takes in where a new VM went, and checks that it was allowed to.
func (m *Model) place(c Command, id string, is fsm.Reader) {
	row, there := is.VM(id)
	if !there || m.vms[id] != nil {
		m.fault(c, "VM %s was made and is not there, or was there before", id)
		return
	}
	v := &vm{owner: row.Status.OwnerID, epoch: row.Status.Epoch, need: row.Spec.Resources()}
	for _, a := range row.Status.Addresses {
		if a.IP == "" {
			continue
		}
		if holder := m.holders[a.IP]; holder != "" {
			m.fault(c, "VM %s got address %s, which VM %s has", id, a.IP, holder)
		}
		m.holders[a.IP], v.ips = id, append(v.ips, a.IP)
	}
	m.vms[id] = v
	m.own(c, id, v)
	m.room(c, v.owner, is)
}

// own checks that an epoch of a VM has one owner.
func (m *Model) own(c Command, id string, v *vm) {
	key := fmt.Sprint(id, " ", v.epoch)
	if before, known := m.owners[key]; known && before != v.owner {
		m.fault(c, "epoch %d of VM %s is owned by %s, and was by %s", v.epoch, id, v.owner, before)
	}
	m.owners[key] = v.owner
}

// room checks that a host has what it has promised.
func (m *Model) room(c Command, host string, is fsm.Reader) {
	p, _ := is.Peer(host)
	var promised api.Resources
	for _, v := range m.vms {
		if v.owner == host {
			promised.VCPUs += v.need.VCPUs
			promised.MemoryMiB += v.need.MemoryMiB
			promised.DiskGiB += v.need.DiskGiB
		}
	}
	if !promised.Within(p.Room()) {
		m.fault(c, "peer %s has promised %+v and has %+v", p.Name, promised, p.Room())
	}
	if p.State != api.PeerMember {
		m.fault(c, "peer %s is no member, and was given a VM", p.Name)
	}
}

// promises compares the ledger with what VMs take, when a host's row changes.
func (m *Model) promises(c Command, is fsm.Reader) {
	for p := range is.Members() {
		reserved, _ := is.Reserved(p.ID)
		var promised api.Resources
		for _, v := range m.vms {
			if v.owner == p.ID {
				promised.VCPUs += v.need.VCPUs
				promised.MemoryMiB += v.need.MemoryMiB
				promised.DiskGiB += v.need.DiskGiB
			}
		}
		if promised != reserved {
			m.fault(c, "the ledger says that peer %s has promised %+v, its VMs take %+v", p.Name, reserved, promised)
		}
	}
}

// act is a verb on a VM.
func (m *Model) act(c Command, got fsm.Result, is fsm.Reader) {
	var body struct {
		ID   string `cbor:"1,keyasint"`
		Verb string `cbor:"3,keyasint"`
	}
	if !m.decoded(c, &body) {
		return
	}
	v := m.vms[body.ID]
	switch {
	case v == nil:
		m.expect(c, got, notFound)
	case v.deleted && body.Verb == "delete":
		m.expect(c, got, "")
	case v.deleted:
		m.expect(c, got, conflict)
	case got.Err == nil && body.Verb == "delete" && v.begun:
		v.deleted = true
	case got.Err == nil && body.Verb == "delete":
		m.free(body.ID)
	}
	m.compareVM(c, body.ID, is)
}

// free forgets a VM: nobody can have anything of it any more.
func (m *Model) free(id string) {
	v := m.vms[id]
	for _, ip := range v.ips {
		delete(m.holders, ip)
	}
	m.buried[id] = v.epoch
	delete(m.vms, id)
}

func (m *Model) reassign(c Command, got fsm.Result, is fsm.Reader) {
	var body struct {
		ID    string `cbor:"1,keyasint"`
		Epoch uint64 `cbor:"2,keyasint"`
	}
	if !m.decoded(c, &body) {
		return
	}
	v := m.vms[body.ID]
	switch {
	case !m.byMember(c):
		m.expect(c, got, forbidden)
	case v == nil:
		m.expect(c, got, notFound)
	case v.epoch != body.Epoch || v.begun || v.deleted:
		m.expect(c, got, conflict)
	case m.expect(c, got, "", noCapacity):
		row, _ := is.VM(body.ID)
		v.epoch++
		v.owner = row.Status.OwnerID
		m.own(c, body.ID, v)
		m.room(c, v.owner, is)
	}
	m.compareVM(c, body.ID, is)
}

// byOwner is what the owner of a VM says: it is heard at the epoch in force alone.
func (m *Model) byOwner(c Command, got fsm.Result, is fsm.Reader) {
	var body struct {
		VM    string `cbor:"1,keyasint"`
		Epoch uint64 `cbor:"2,keyasint"`
	}
	if c.Type == reportVM {
		var report struct {
			VM    string `cbor:"vm"`
			Epoch uint64 `cbor:"epoch"`
		}
		if !m.decoded(c, &report) {
			return
		}
		body.VM, body.Epoch = report.VM, report.Epoch
	} else if !m.decoded(c, &body) {
		return
	}
	v := m.vms[body.VM]
	epoch, gone := m.buried[body.VM]
	switch {
	case c.Type == buryVM && gone && epoch >= body.Epoch:
		m.expect(c, got, "")
	case !m.byMember(c):
		m.expect(c, got, forbidden)
	case v == nil:
		m.expect(c, got, notFound)
	case v.owner != peerOf(c) || v.epoch != body.Epoch:
		m.expect(c, got, conflict)
	case c.Type == beginVM && v.deleted, c.Type == reportVM && !v.begun, c.Type == buryVM && !v.deleted:
		m.expect(c, got, conflict)
	case c.Type == beginVM && m.expect(c, got, ""):
		v.begun = true
	case c.Type == buryVM && m.expect(c, got, ""):
		m.free(body.VM)
	}
	m.compareVM(c, body.VM, is)
}

// compareVM compares a row with what it should be.
func (m *Model) compareVM(c Command, id string, is fsm.Reader) {
	row, there := is.VM(id)
	v := m.vms[id]
	if there != (v != nil) {
		m.fault(c, "VM %s is there: %t, and should be: %t", id, there, v != nil)
		return
	}
	if v == nil {
		return
	}
	s := row.Status
	if s.OwnerID != v.owner || s.Epoch != v.epoch || s.Begun != v.begun || (s.Desired == api.WantDeleted) != v.deleted {
		m.fault(c, "VM %s is owned by %s at epoch %d (begun %t, deleted %t), and should be by %s at %d (%t, %t)",
			id, s.OwnerID, s.Epoch, s.Begun, s.Desired == api.WantDeleted, v.owner, v.epoch, v.begun, v.deleted)
	}
	var ips []string
	for _, a := range s.Addresses {
		if a.IP != "" {
			ips = append(ips, a.IP)
		}
	}
	if !slices.Equal(ips, v.ips) {
		m.fault(c, "VM %s has the addresses %v, and should have %v", id, ips, v.ips)
	}
}
