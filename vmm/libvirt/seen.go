package libvirt

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/orchd/orchd/api"
)

// Seen are the addresses that libvirt's DHCP has handed to a domain, and those
// that this host's kernel has lately seen its MACs at. libvirt can ask the kernel
// too, but not every kernel: 9.0 fails on the answer of Linux 6.18.
func (d *Driver) Seen(ctx context.Context, uuid string) ([]api.VMAddress, error) {
	var found []api.VMAddress
	var macs []string
	err := d.change(ctx, "addresses", uuid, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		found, macs = nil, nil
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		x, err := running(rpc, dom)
		if err != nil {
			return err
		}
		macs = macsOf(x)
		if len(macs) == 0 {
			return nil
		}
		leased, err := rpc.DomainInterfaceAddresses(dom, uint32(golibvirt.DomainInterfaceAddressesSrcLease), 0)
		if is(err, golibvirt.ErrNoSupport) || is(err, golibvirt.ErrOperationUnsupported) {
			return nil
		}
		for _, i := range leased {
			for _, a := range i.Addrs {
				if len(i.Hwaddr) == 1 {
					found = append(found, api.VMAddress{IP: a.Addr, MAC: i.Hwaddr[0]})
				}
			}
		}
		return err
	})
	if err != nil || len(macs) == 0 {
		return nil, err
	}
	near, err := neighbours()
	if err != nil {
		return nil, err
	}
	for _, a := range near {
		if slices.Contains(macs, a.MAC) {
			found = append(found, a)
		}
	}
	return once(found, time.Now().UTC().Truncate(time.Second)), nil
}

// once leaves out what was found twice, and says when it was seen.
func once(all []api.VMAddress, at time.Time) (kept []api.VMAddress) {
	for _, a := range all {
		if !slices.ContainsFunc(kept, func(b api.VMAddress) bool { return b.IP == a.IP && b.MAC == a.MAC }) {
			a.SeenAt = at
			kept = append(kept, a)
		}
	}
	return kept
}

// The kernel's list of neighbours (linux/neighbour.h).
const (
	neighbourHead  = 12
	neighbourState = 8 // offset
	neighbourIP    = 1 // NDA_DST
	neighbourMAC   = 2 // NDA_LLADDR

	// Reachable, stale, delay, probe: an answer was heard at some time lately.
	heardOf = 0x02 | 0x04 | 0x08 | 0x10
)

// neighbours are the addresses that this host has heard from on its own links.
func neighbours() ([]api.VMAddress, error) {
	table, err := syscall.NetlinkRIB(syscall.RTM_GETNEIGH, syscall.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("libvirt: ask the kernel for neighbours: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, fmt.Errorf("libvirt: read the kernel's neighbours: %w", err)
	}
	var all []api.VMAddress
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWNEIGH || len(m.Data) < neighbourHead {
			continue
		}
		if binary.NativeEndian.Uint16(m.Data[neighbourState:])&heardOf == 0 {
			continue
		}
		ip, mac := neighbour(m.Data[neighbourHead:])
		if ip.IsValid() && !ip.IsLinkLocalUnicast() && len(mac) == 6 {
			all = append(all, api.VMAddress{IP: ip.String(), MAC: mac.String()})
		}
	}
	return all, nil
}

// neighbour reads the attributes of one entry.
func neighbour(attributes []byte) (ip netip.Addr, mac net.HardwareAddr) {
	for len(attributes) >= 4 {
		size := int(binary.NativeEndian.Uint16(attributes))
		if size < 4 || size > len(attributes) {
			break
		}
		value := attributes[4:size]
		switch binary.NativeEndian.Uint16(attributes[2:]) {
		case neighbourIP:
			ip, _ = netip.AddrFromSlice(value)
		case neighbourMAC:
			mac = net.HardwareAddr(value)
		}
		attributes = attributes[min((size+3)&^3, len(attributes)):]
	}
	return ip, mac
}
