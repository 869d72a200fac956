package libvirt

import (
	"context"
	"sync"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
)

// What the driver does about guests that send from addresses that are not theirs, in Config.Filter.
const (
	FilterAuto = "auto" // filter where this host can; where not, warn and go on
	FilterOn   = "on"   // filter; a host that cannot makes no domain with an interface
	FilterOff  = "off"
)

// Variables of a filter: the addresses that an interface may send from. libvirt
// itself knows its MAC.
const (
	varMAC  = "MAC"
	varIP   = "IP"
	varIPv6 = "IPV6"
)

// guestFilters has orchd's filters by name. libvirt refuses to start a domain that does
// not give each variable of its filter a value; so there is one for each kind of domain.
var guestFilters = map[string]libvirtxml.NWFilter{
	filterName(false, false): guestFilter(false, false),
	filterName(true, false):  guestFilter(true, false),
	filterName(false, true):  guestFilter(false, true),
	filterName(true, true):   guestFilter(true, true),
}

// filterFor is the name of the filter of an interface with those addresses.
func filterFor(v4, v6 []string) string { return filterName(len(v4) > 0, len(v6) > 0) }

func filterName(v4, v6 bool) string {
	switch {
	case v4 && v6:
		return "orchd-ipv4-ipv6"
	case v4:
		return "orchd-ipv4"
	case v6:
		return "orchd-ipv6"
	}
	return "orchd-mac"
}

// guestFilter lets out what has the interface's own MAC and one of its own
// addresses, and what a guest must say before it has an address or to its
// neighbours. Nobody answers DHCP or announces routes. Of a family of which it has
// no address it sends nothing; if it has none at all, only its MAC is looked at.
func guestFilter(v4, v6 bool) libvirtxml.NWFilter {
	rules := ownMAC()
	if v4 {
		rules = append(rules, ownIPv4()...)
	}
	if v6 {
		rules = append(rules, ownIPv6()...)
	}
	if v4 || v6 {
		rules = append(rules, drop(libvirtxml.NWFilterRule{}))
	}
	name := filterName(v4, v6)
	f := libvirtxml.NWFilter{Name: name, Chain: "root", UUID: uuid.NewSHA1(uuid.NameSpaceURL, []byte(namespace+"/filter/"+name)).String()}
	for i := range rules {
		rules[i].Priority = -900 + 10*i // they are tried in this order
		f.Entries = append(f.Entries, libvirtxml.NWFilterEntry{Rule: &rules[i]})
	}
	return f
}

func ownMAC() []libvirtxml.NWFilterRule {
	frame := libvirtxml.NWFilterRuleMAC{Match: "no"}
	frame.SrcMACAddr = text("$" + varMAC)
	return []libvirtxml.NWFilterRule{
		drop(libvirtxml.NWFilterRule{MAC: &frame}),
		drop(libvirtxml.NWFilterRule{ARP: &libvirtxml.NWFilterRuleARP{Match: "no", ARPSrcMACAddr: text("$" + varMAC)}}),
	}
}

func ownIPv4() []libvirtxml.NWFilterRule {
	serving := libvirtxml.NWFilterRuleIP{Protocol: text("udp")}
	serving.SrcPortStart = number(dhcpServer)
	asking := libvirtxml.NWFilterRuleIP{SrcIPAddr: text("0.0.0.0"), Protocol: text("udp")}
	asking.SrcPortStart, asking.DstPortStart = number(dhcpClient), number(dhcpServer)
	return []libvirtxml.NWFilterRule{
		accept(libvirtxml.NWFilterRule{ARP: &libvirtxml.NWFilterRuleARP{ARPSrcIPAddr: text("$" + varIP)}}),
		accept(libvirtxml.NWFilterRule{ARP: &libvirtxml.NWFilterRuleARP{ARPSrcIPAddr: text("0.0.0.0")}}), // asks whether its address is free
		drop(libvirtxml.NWFilterRule{IP: &serving}),
		accept(libvirtxml.NWFilterRule{IP: &libvirtxml.NWFilterRuleIP{SrcIPAddr: text("$" + varIP)}}),
		accept(libvirtxml.NWFilterRule{IP: &asking}),
	}
}

func ownIPv6() []libvirtxml.NWFilterRule {
	serving := libvirtxml.NWFilterRuleIPv6{Protocol: text("udp")}
	serving.SrcPortStart = number(dhcpv6Server)
	return []libvirtxml.NWFilterRule{
		drop(libvirtxml.NWFilterRule{IPv6: &libvirtxml.NWFilterRuleIPv6{Protocol: text("icmpv6"), Type: number(routerAdvertisement)}}),
		drop(libvirtxml.NWFilterRule{IPv6: &serving}),
		accept(libvirtxml.NWFilterRule{IPv6: &libvirtxml.NWFilterRuleIPv6{SrcIPAddr: text("$" + varIPv6)}}),
		accept(libvirtxml.NWFilterRule{IPv6: &libvirtxml.NWFilterRuleIPv6{SrcIPAddr: text("fe80::"), SrcIPMask: text("10")}}),
		accept(libvirtxml.NWFilterRule{IPv6: &libvirtxml.NWFilterRuleIPv6{SrcIPAddr: text("::"), Protocol: text("icmpv6")}}),
	}
}

const (
	dhcpServer          = 67
	dhcpClient          = 68
	dhcpv6Server        = 547
	routerAdvertisement = 134
)

// Rules are about what a guest sends; what is sent to it is let through.
func accept(r libvirtxml.NWFilterRule) libvirtxml.NWFilterRule {
	r.Action, r.Direction = "accept", "out"
	return r
}

func drop(r libvirtxml.NWFilterRule) libvirtxml.NWFilterRule {
	r.Action, r.Direction = "drop", "out"
	return r
}

func text(s string) libvirtxml.NWFilterField { return libvirtxml.NWFilterField{Str: s} }
func number(n uint) libvirtxml.NWFilterField { return libvirtxml.NWFilterField{Uint: &n} }

// filtering is what is known of whether this host can filter.
type filtering struct {
	trying sync.Mutex // held while it is found out

	mu      sync.Mutex
	can     bool
	refused error // why it cannot
	warned  bool
}

// found keeps what was found out.
func (f *filtering) found(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.can, f.refused = err == nil, err
}

func (f *filtering) works() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.can
}

// filterLimit is generous: libvirt runs ebtables several times, for the first time perhaps.
const filterLimit = 30 * time.Second

// filters tells whether domains of this host are filtered, where their network
// says so, and sees to it that libvirt has the filters.
func (d *Driver) filters(ctx context.Context) (bool, error) {
	if d.cfg.Filter == FilterOff {
		return false, nil
	}
	err := d.canFilter(ctx)
	switch {
	case err == nil:
		return true, nil
	case unknown(err):
		return false, err
	case d.cfg.Filter == FilterOn:
		return false, api.Errorf(api.Invalid, "libvirt.filter",
			"libvirt on this host cannot filter what guests send (%w): install ebtables (package iptables) and load its kernel modules, or set vmm.filter to \"off\" to do without", err)
	}
	d.warnUnfiltered(err)
	return false, nil
}

// refilter gives the interface of a domain that is off the filter that its mark
// asks for, or takes it away: this host may have been mended or set otherwise
// since the domain was made.
func (d *Driver) refilter(ctx context.Context, vm string) error {
	var wants string
	var now facts
	err := d.change(ctx, "filter", vm, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		m, _, err := d.markOf(rpc, dom)
		if wants = m.filter; err != nil || wants == "" {
			return err
		}
		x, err := definition(rpc, dom)
		if err == nil {
			readDevices(x.Devices, &now)
		}
		return err
	})
	if err != nil || wants == "" {
		return err
	}
	on, err := d.filters(ctx)
	if err != nil {
		return err
	}
	if !on {
		wants = ""
	}
	if wants == now.nic.filter {
		return nil
	}
	return d.change(ctx, "filter", vm, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOff); err != nil {
			return err
		}
		x, err := definition(rpc, dom)
		if err != nil {
			return err
		}
		for i := range x.Devices.Interfaces {
			x.Devices.Interfaces[i].FilterRef = filterRef(wants)
		}
		return redefine(rpc, x)
	})
}

// unknown tells an error that says nothing about the host.
func unknown(err error) bool { return api.IsKind(err, api.Unavailable) }

// canFilter finds out once whether libvirt can really filter here: it makes it
// filter the loopback device, which is in no bridge, and ends that at once. That
// it could not is found out anew for each domain, for it may have been mended.
func (d *Driver) canFilter(ctx context.Context) error {
	d.filtering.trying.Lock()
	defer d.filtering.trying.Unlock()
	if d.filtering.works() {
		return nil
	}
	err := d.jobs.call(ctx, "filter", filterLimit, func(rpc *golibvirt.Libvirt) error {
		for _, f := range guestFilters {
			text, err := f.Marshal()
			if err != nil {
				return api.Errorf(api.Internal, "libvirt.filter", "%w", err)
			}
			if _, err := rpc.NwfilterDefineXML(text); err != nil {
				return err
			}
		}
		return tryFilter(rpc)
	})
	if !unknown(err) {
		d.filtering.found(err)
	}
	return err
}

// probeDevice is there on every host.
const probeDevice = "lo"

// tryFilter has the fullest filter put in force and taken away again.
func tryFilter(rpc *golibvirt.Libvirt) error {
	b := libvirtxml.NWFilterBinding{
		Owner:   &libvirtxml.NWFilterBindingOwner{Name: "orchd-probe", UUID: guestFilters[filterName(true, true)].UUID},
		PortDev: &libvirtxml.NWFilterBindingPortDev{Name: probeDevice},
		MAC:     &libvirtxml.NWFilterBindingMAC{Address: "52:54:00:00:00:01"},
		FilterRef: &libvirtxml.NWFilterBindingFilterRef{Filter: filterName(true, true), Parameters: []libvirtxml.NWFilterBindingFilterParam{
			{Name: varIP, Value: "192.0.2.1"}, {Name: varIPv6, Value: "2001:db8::1"}}},
	}
	text, err := b.Marshal()
	if err != nil {
		return api.Errorf(api.Internal, "libvirt.filter", "%w", err)
	}
	// One of a probe that was cut short may be left.
	if left, err := rpc.NwfilterBindingLookupByPortDev(probeDevice); err == nil {
		if err := rpc.NwfilterBindingDelete(left); err != nil {
			return err
		}
	}
	made, err := rpc.NwfilterBindingCreateXML(text, 0)
	if err != nil {
		return err
	}
	return rpc.NwfilterBindingDelete(made)
}

// warnUnfiltered says it loudly, and once.
func (d *Driver) warnUnfiltered(why error) {
	d.filtering.mu.Lock()
	defer d.filtering.mu.Unlock()
	if d.filtering.warned {
		return
	}
	d.filtering.warned = true
	d.log.Error("guests on this host are NOT filtered: they can send from addresses of others. "+
		"Install ebtables (package iptables), or set vmm.filter to off if that is meant", "err", why)
}

// Warnings says what is wrong with this host that its operator should know,
// sentences for a person; none when all is well.
func (d *Driver) Warnings() []string {
	d.filtering.mu.Lock()
	defer d.filtering.mu.Unlock()
	if d.cfg.Filter == FilterOff || d.filtering.refused == nil {
		return nil
	}
	return []string{"libvirt on this host cannot filter what guests send, so they can use addresses of others: " + d.filtering.refused.Error()}
}
