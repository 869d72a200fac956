package libvirt

import (
	"context"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/orchd/orchd/vmm"
)

// List asks for the states of all domains at once and reads the mark of each. A
// domain without one, with that of another cluster, or with one that does not
// read, is a stranger.
func (d *Driver) List(ctx context.Context) (vmm.Listing, error) {
	return ask(ctx, d.questions, "list", listLimit, func(rpc *golibvirt.Libvirt) (vmm.Listing, error) {
		l := vmm.Listing{StrangerMarks: map[string]string{}}
		all, err := states(rpc)
		if err != nil {
			return l, err
		}
		for _, one := range all {
			if err := d.look(rpc, one, &l); err != nil {
				return l, err
			}
		}
		return l, nil
	})
}

// look adds one domain to a listing. One that vanishes meanwhile is not there.
func (d *Driver) look(rpc *golibvirt.Libvirt, one domainState, l *vmm.Listing) error {
	id := uuid.UUID(one.dom.UUID).String()
	m, state, err := d.markOf(rpc, one.dom)
	switch {
	case err != nil || state == vanished:
		return err
	case state != ours || m.mark.Cluster != d.cfg.Cluster:
		l.Strangers++
		l.StrangerMarks[id] = m.mark.Cluster
		return nil
	}
	power, cause := powerOf(one.state, one.reason)
	if power == vmm.Off && one.dom.ID != noID {
		power, cause = vmm.Paused, vmm.Unknown
	}
	l.Domains = append(l.Domains, vmm.Domain{UUID: id, Name: one.dom.Name, Mark: m.mark,
		Power: power, Cause: cause, Paused: pauseOf(one.state, one.reason)})
	return nil
}

// noID is libvirt's id of a domain that has no QEMU. A guest that panicked is
// crashed in libvirt's books before its QEMU is gone, which a host of somebody
// else's making may even have libvirt keep: it is off when it has ended.
const noID = -1

func pauseOf(state golibvirt.DomainState, reason int32) vmm.PauseCause {
	if state == golibvirt.DomainPaused && golibvirt.DomainPausedReason(reason) == golibvirt.DomainPausedIoerror {
		return vmm.IOError
	}
	return vmm.ByWord
}

// What markOf may find.
type markState uint8

const (
	unmarked markState = iota
	ours               // of orchd's, of some cluster
	vanished           // the domain is gone
)

// markOf reads the mark of a domain.
func (d *Driver) markOf(rpc *golibvirt.Libvirt, dom golibvirt.Domain) (marked, markState, error) {
	element, err := rpc.DomainGetMetadata(dom, int32(golibvirt.DomainMetadataElement), golibvirt.OptString{namespace}, 0)
	switch {
	case is(err, golibvirt.ErrNoDomain):
		return marked{}, vanished, nil
	case is(err, golibvirt.ErrNoDomainMetadata):
		return marked{}, unmarked, nil
	case err != nil:
		return marked{}, unmarked, err
	}
	m, err := parseMark(element)
	if err != nil {
		return marked{}, unmarked, nil
	}
	return m, ours, nil
}

// domainState is what a domain is doing, and why.
type domainState struct {
	dom    golibvirt.Domain
	state  golibvirt.DomainState
	reason int32
}

// states asks for the states of all domains in one question.
func states(rpc *golibvirt.Libvirt) ([]domainState, error) {
	records, err := rpc.ConnectGetAllDomainStats(nil, uint32(golibvirt.DomainStatsState), 0)
	if err != nil {
		return nil, err
	}
	var all []domainState
	for _, r := range records {
		one := domainState{dom: r.Dom}
		for _, p := range r.Params {
			switch p.Field {
			case "state.state":
				one.state = golibvirt.DomainState(count(p.Value.I))
			case "state.reason":
				one.reason = int32(count(p.Value.I))
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// powerOf reads libvirt's state and its reason (libvirt-domain.h). libvirtd
// knows the reason of a domain that is off only since it was last started
// itself: after that, and after a boot, it is unknown.
func powerOf(state golibvirt.DomainState, reason int32) (vmm.Power, vmm.Cause) {
	switch state {
	case golibvirt.DomainPaused:
		if golibvirt.DomainPausedReason(reason) == golibvirt.DomainPausedStartingUp {
			return vmm.Running, vmm.Unknown
		}
		return vmm.Paused, vmm.Unknown
	case golibvirt.DomainPmsuspended:
		return vmm.Paused, vmm.Unknown
	case golibvirt.DomainCrashed:
		return vmm.Off, vmm.Crashed
	case golibvirt.DomainShutoff:
		return vmm.Off, causeOf(golibvirt.DomainShutoffReason(reason))
	}
	return vmm.Running, vmm.Unknown
}

func causeOf(reason golibvirt.DomainShutoffReason) vmm.Cause {
	switch reason {
	case golibvirt.DomainShutoffShutdown:
		return vmm.ByGuest
	case golibvirt.DomainShutoffCrashed:
		return vmm.Crashed
	case golibvirt.DomainShutoffFailed:
		return vmm.NoStart
	case golibvirt.DomainShutoffDestroyed, golibvirt.DomainShutoffMigrated,
		golibvirt.DomainShutoffSaved, golibvirt.DomainShutoffFromSnapshot:
		return vmm.ByForce
	}
	return vmm.Unknown // also DomainShutoffDaemon: libvirtd gave it up when it came back
}
