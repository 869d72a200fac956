package cli

import (
	"context"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) hosts() listing[api.HostCapacity] {
	type H = api.HostCapacity
	free := func(of func(api.Resources) string) func(H) string {
		return func(h H) string {
			if h.Free == nil {
				return ""
			}
			return of(*h.Free)
		}
	}
	return listing[H]{
		name: func(h H) string { return h.Peer },
		columns: []column[H]{
			{head: "PEER", text: func(h H) string { return h.Peer }},
			{head: "FITS", text: func(h H) string { return yesNo(h.Fits) }},
			{head: "FREE-VCPUS", text: free(func(r api.Resources) string { return number(r.VCPUs) })},
			{head: "FREE-MEMORY", text: free(func(r api.Resources) string { return mib(r.MemoryMiB) })},
			{head: "FREE-DISK", text: free(func(r api.Resources) string { return gib(r.DiskGiB) })},
			{head: "STATUS", text: func(h H) string { return string(h.Status) }},
			{head: "REASON", text: func(h H) string { return h.Reason }},
		},
	}
}

func (a *App) capacity() *cobra.Command {
	var cpu int64
	memory, disk := sizeFlag{unit: 1 << 20}, sizeFlag{unit: 1 << 30}
	cmd := a.verb(verb{
		use:   "capacity",
		short: "Is there a host with this much room? Exits 7 when there is none",
		example: `
orchd capacity                                   # what is free, host by host
orchd capacity --cpu 4 --memory 16GiB --disk 100GiB`,
		run: func(ctx context.Context, _ []string) error {
			q := url.Values{"vcpus": {number(cpu)}, "memory_mib": {number(memory.units())}, "disk_gib": {number(disk.units())}}
			return a.askCapacity(ctx, q)
		},
	})
	cmd.Flags().Int64Var(&cpu, "cpu", 0, "virtual CPUs")
	cmd.Flags().Var(&memory, "memory", "memory, as 4GiB")
	cmd.Flags().Var(&disk, "disk", "disk, as 20GiB")
	return cmd
}

func (a *App) askCapacity(ctx context.Context, q url.Values) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var got api.Capacity
	if err := c.get(ctx, "/v1/capacity", q, &got); err != nil {
		return err
	}
	if a.flags.output == "json" || a.flags.output == "yaml" {
		err = printObject(a.Stdout, a.flags.output, got)
	} else {
		err = a.hosts().all(a, got.Hosts)
	}
	if err == nil && !got.Available {
		return &failure{exitNoHost, "no host has that much room", "what each lacks is in the column REASON"}
	}
	return err
}
