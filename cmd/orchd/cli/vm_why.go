package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) vmWhy() *cobra.Command {
	return a.verb(verb{
		use:   "why NAME",
		short: "Show how the owner of a virtual machine was chosen: each host, and why it was taken or not",
		example: `
orchd vm why web1
orchd vm why web1 -o json`,
		min: 1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var why api.Why
			k := vmCall("GET", args[0], "why")
			k.out = &why
			if err := c.do(ctx, k); err != nil {
				return err
			}
			return a.printWhy(args[0], why)
		},
	})
}

func (a *App) printWhy(name string, why api.Why) error {
	if format := a.flags.output; format == "json" || format == "yaml" {
		return printObject(a.Stdout, format, why)
	}
	a.say("%s is on %s since %s (epoch %d)%s", name, why.Owner, moment(why.At), why.Epoch, asked(why.Asked))
	return candidates().all(a, why.Candidates)
}

// asked is what a placement asked for, as the flags of create say it.
func asked(p api.Placement) string {
	var all []string
	add := func(flag, value string) {
		if value != "" {
			all = append(all, flag+" "+value)
		}
	}
	add("--peer", p.Peer)
	add("--require-label", pairs(p.Labels))
	add("--group", p.Group)
	add("--spread", strings.TrimSuffix(p.Spread+":"+p.SpreadLabel, ":"))
	add("--with", p.With)
	add("--apart-from", p.ApartFrom)
	if len(all) == 0 {
		return ""
	}
	return "; asked for " + strings.Join(all, " ")
}

func candidates() listing[api.Candidate] {
	type C = api.Candidate
	return listing[C]{
		name:  func(c C) string { return c.Peer },
		order: byRank,
		columns: []column[C]{
			{head: "RANK", text: func(c C) string { return unlessZero(c.Rank) }},
			{head: "PEER", text: func(c C) string { return c.Peer }},
			{head: "STATUS", text: func(c C) string { return strings.ReplaceAll(string(c.Status), "_", " ") }, key: "status", raw: func(c C) string { return string(c.Status) }},
			{head: "FREE", text: func(c C) string { return room(c.Free) }},
			{head: "REASONS", text: func(c C) string { return strings.Join(c.Reasons, "; ") }},
		},
	}
}

// byRank puts hosts that fitted first, in the order in which they were preferred.
func byRank(x, y api.Candidate) int {
	if (x.Rank == 0) != (y.Rank == 0) {
		return cmp.Compare(y.Rank, x.Rank)
	}
	return cmp.Or(cmp.Compare(x.Rank, y.Rank), strings.Compare(x.Peer, y.Peer))
}

// room is an amount of resources on one line; nothing where none is known.
func room(r api.Resources) string {
	if r == (api.Resources{}) {
		return ""
	}
	return fmt.Sprintf("%d vcpus, %s, %s disk", r.VCPUs, mib(r.MemoryMiB), gib(r.DiskGiB))
}
