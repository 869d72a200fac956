package cli

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) network() *cobra.Command {
	return a.group("network", "Ranges of addresses, and where virtual machines are plugged in", `
orchd network create lan --bridge br0 --cidr 10.1.0.0/24 --gateway 10.1.0.1 --dns 10.1.0.1
orchd network list
orchd network delete lan`,
		a.networkCreate(), a.networkList(), a.networkShow(), a.networkDelete())
}

func (a *App) networks() listing[api.Network] {
	type N = api.Network
	return listing[N]{
		name: func(n N) string { return n.Name },
		columns: []column[N]{
			{head: "NAME", text: func(n N) string { return n.Name }},
			{head: "CIDR", text: func(n N) string { return spaced(n.CIDR, n.CIDR6) }},
			{head: "GATEWAY", text: func(n N) string { return spaced(n.Gateway, n.Gateway6) }},
			{head: "PLUGGED-INTO", text: plugged},
			{head: "DNS", text: func(n N) string { return strings.Join(n.DNS, " ") }},
			{head: "AGE", text: func(n N) string { return a.age(n.CreatedAt) }, key: "created_at", raw: func(n N) string { return moment(n.CreatedAt) }},
			{head: "FROM-TO", wide: true, text: func(n N) string { return fromTo(n.First, n.Last) }},
			{head: "POOLS", wide: true, text: func(n N) string { return pools(n.Pools) }},
			{head: "MTU", wide: true, text: func(n N) string { return unlessZero(n.MTU) }},
			{head: "FILTER", wide: true, text: func(n N) string { return yesNo(!n.Open) }},
			{head: "ID", wide: true, text: func(n N) string { return n.ID }},
		},
	}
}

// spaced is the texts that are there, with a space between.
func spaced(texts ...string) string { return strings.TrimSpace(strings.Join(texts, " ")) }

// unlessZero is a number; nothing for none.
func unlessZero(n int64) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

func plugged(n api.Network) string {
	switch {
	case n.Bridge != "":
		return "bridge " + n.Bridge
	case n.Libvirt != "":
		return "libvirt " + n.Libvirt
	}
	return ""
}

func fromTo(first, last string) string {
	if first == "" && last == "" {
		return ""
	}
	return first + "-" + last
}

// pools writes pools as --pool takes them.
func pools(all []api.AddressPool) string {
	var texts []string
	for _, p := range all {
		text := p.Peer + "=" + p.First + "-" + p.Last
		if p.Gateway != "" {
			text += "," + p.Gateway
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

// poolFlag collects PEER=FIRST-LAST[,GATEWAY].
type poolFlag []api.AddressPool

func (f *poolFlag) Type() string   { return "PEER=FIRST-LAST[,GATEWAY]" }
func (f *poolFlag) String() string { return pools(*f) }

func (f *poolFlag) Set(text string) error {
	peer, rest, named := strings.Cut(text, "=")
	span, gateway, _ := strings.Cut(rest, ",")
	first, last, both := strings.Cut(span, "-")
	if !named || peer == "" || !both {
		return fmt.Errorf("want PEER=FIRST-LAST or PEER=FIRST-LAST,GATEWAY, got %q", text)
	}
	for _, ip := range []string{first, last, gateway} {
		if _, err := netip.ParseAddr(ip); err != nil && ip != "" {
			return fmt.Errorf("%q is no address", ip)
		}
	}
	*f = append(*f, api.AddressPool{Peer: peer, First: first, Last: last, Gateway: gateway})
	return nil
}

func networkNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/networks", func(n api.Network) string { return n.Name })
}

func (a *App) networkCreate() *cobra.Command {
	var want api.NetworkCreate
	cmd := a.verb(verb{
		use:   "create NAME",
		short: "Declare a range of addresses to allot from (admins only)",
		long: "Declare a range of addresses to allot from, and what virtual machines on it are plugged into (admins only).\n" +
			"Where a peer has a public block of its own, --pool says so; with any, a peer without one allots nothing.",
		example: `
orchd network create lan --bridge br0 --cidr 10.1.0.0/24 --gateway 10.1.0.1 --dns 10.1.0.1
orchd network create nat --libvirt default --cidr 192.168.122.0/24 --gateway 192.168.122.1 --first 192.168.122.100
orchd network create public --bridge br1 --cidr 198.51.100.0/24 --pool h1=198.51.100.2-198.51.100.62,198.51.100.1`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error {
			want.Name = args[0]
			c, err := a.client()
			if err != nil {
				return err
			}
			var made api.Network
			if err := c.do(ctx, call{method: "POST", path: "/v1/networks", in: want, out: &made}); err != nil {
				return err
			}
			return a.networks().result(a, made)
		},
	})
	rangeFlags(cmd, &want.NetworkShape)
	f := cmd.Flags()
	f.StringVar(&want.Bridge, "bridge", "", "bridge on each peer that virtual machines are plugged into")
	f.StringVar(&want.Libvirt, "libvirt", "", "network of each peer's libvirt, instead of a bridge")
	f.Int64Var(&want.MTU, "mtu", 0, "largest packet (default 1500)")
	f.BoolVar(&want.Open, "open", false, "do not filter what virtual machines send: they may use addresses that are not theirs")
	cmd.MarkFlagsMutuallyExclusive("bridge", "libvirt")
	return cmd
}

// rangeFlags say which addresses a network has.
func rangeFlags(cmd *cobra.Command, n *api.NetworkShape) {
	f := cmd.Flags()
	f.StringVar(&n.CIDR, "cidr", "", "the range, as 10.1.0.0/24; the IPv4 one where there are two")
	f.StringVar(&n.Gateway, "gateway", "", "its router")
	f.StringVar(&n.First, "first", "", "first address that may be allotted (default: the first of the range)")
	f.StringVar(&n.Last, "last", "", "last address that may be allotted (default: the last of the range)")
	f.StringVar(&n.CIDR6, "cidr6", "", "an IPv6 range beside the IPv4 one: an address of each is allotted")
	f.StringVar(&n.Gateway6, "gateway6", "", "its router")
	f.StringSliceVar(&n.DNS, "dns", nil, "name server; may be repeated")
	f.Var((*poolFlag)(&n.Pools), "pool", "a part that one peer alone allots from; may be repeated")
}

func (a *App) networkList() *cobra.Command {
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the networks",
		example: "orchd network list\norchd network list -o wide",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Network](ctx, a, "/v1/networks", nil)
			if err != nil {
				return err
			}
			return a.networks().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}

func (a *App) networkShow() *cobra.Command {
	return a.verb(verb{
		use:     "show NAME",
		short:   "Show a network",
		example: "orchd network show lan",
		min:     1, max: 1, noun: networkNames,
		run: func(ctx context.Context, args []string) error {
			n, err := show[api.Network](ctx, a, "/v1/networks/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return a.networks().one(a, n)
		},
	})
}

func (a *App) networkDelete() *cobra.Command {
	cmd := a.verb(verb{
		use:     "delete NAME...",
		short:   "Forget networks of which no address is held; bridges on the hosts stay",
		example: "orchd network delete lan",
		min:     1, max: many, noun: networkNames,
		run: func(ctx context.Context, args []string) error {
			return a.remove(ctx, "/v1/networks/", "network", args)
		},
	})
	cmd.Aliases = []string{"rm"}
	return cmd
}
