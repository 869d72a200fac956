package libvirt

import (
	"context"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/orchd/orchd/vmm"
)

// List reads the mark of every domain. A domain without one, with that of
// another cluster, or with one that does not read, is a stranger.
func (d *Driver) List(ctx context.Context) (vmm.Listing, error) {
	return ask(ctx, d.questions, "list", listLimit, func(rpc *golibvirt.Libvirt) (l vmm.Listing, err error) {
		all, _, err := rpc.ConnectListAllDomains(1, 0)
		if err != nil {
			return l, err
		}
		for _, dom := range all {
			if err := d.look(rpc, dom, &l); err != nil {
				return l, err
			}
		}
		return l, nil
	})
}

// look adds one domain to a listing. One that vanishes meanwhile is not there.
func (d *Driver) look(rpc *golibvirt.Libvirt, dom golibvirt.Domain, l *vmm.Listing) error {
	element, err := rpc.DomainGetMetadata(dom, int32(golibvirt.DomainMetadataElement), golibvirt.OptString{namespace}, 0)
	switch {
	case is(err, golibvirt.ErrNoDomain):
		return nil
	case is(err, golibvirt.ErrNoDomainMetadata):
		l.Strangers++
		return nil
	case err != nil:
		return err
	}
	mark, err := parseMark(element)
	if err != nil || mark.Cluster != d.cfg.Cluster {
		l.Strangers++
		return nil
	}
	state, reason, err := rpc.DomainGetState(dom, 0)
	if is(err, golibvirt.ErrNoDomain) {
		return nil
	}
	if err != nil {
		return err
	}
	power, cause := powerOf(golibvirt.DomainState(state), reason)
	l.Domains = append(l.Domains, vmm.Domain{
		UUID: uuid.UUID(dom.UUID).String(), Name: dom.Name, Mark: mark, Power: power, Cause: cause})
	return nil
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
