package cli

import (
	"context"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) size() *cobra.Command {
	return a.group("size", "Named amounts of CPUs, memory and disk", `
orchd size list
orchd size create big --cpu 16 --memory 64GiB --disk 500GiB
orchd size deprecate big              # no new virtual machine may have it`,
		a.sizeCreate(), a.sizeList(), a.sizeShow(), a.sizeDeprecate(), a.sizeDelete())
}

func (a *App) sizes() listing[api.Size] {
	type S = api.Size
	return listing[S]{
		name: func(s S) string { return s.Name },
		columns: []column[S]{
			{head: "NAME", text: func(s S) string { return s.Name }},
			{head: "VCPUS", text: func(s S) string { return number(s.VCPUs) }},
			{head: "MEMORY", text: func(s S) string { return mib(s.MemoryMiB) }, key: "memory_mib", raw: func(s S) string { return number(s.MemoryMiB) }},
			{head: "DISK", text: func(s S) string { return gib(s.DiskGiB) }, key: "disk_gib", raw: func(s S) string { return number(s.DiskGiB) }},
			{head: "DEPRECATED", text: func(s S) string { return yesNo(s.Deprecated) }},
			{head: "AGE", text: func(s S) string { return a.age(s.CreatedAt) }, key: "created_at", raw: func(s S) string { return moment(s.CreatedAt) }},
			{head: "ID", wide: true, text: func(s S) string { return s.ID }},
		},
	}
}

func sizeNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/sizes", func(s api.Size) string { return s.Name })
}

func sizePath(ref string) string { return "/v1/sizes/" + url.PathEscape(ref) }

func (a *App) sizeCreate() *cobra.Command {
	var want api.SizeCreate
	memory, disk := sizeFlag{unit: 1 << 20}, sizeFlag{unit: 1 << 30}
	cmd := a.verb(verb{
		use:     "create NAME",
		short:   "Name an amount of CPUs, memory and disk (admins only)",
		example: "orchd size create big --cpu 16 --memory 64GiB --disk 500GiB",
		min:     1, max: 1,
		run: func(ctx context.Context, args []string) error {
			want.Name, want.MemoryMiB, want.DiskGiB = args[0], memory.units(), disk.units()
			c, err := a.client()
			if err != nil {
				return err
			}
			var made api.Size
			if err := c.do(ctx, call{method: "POST", path: "/v1/sizes", in: want, out: &made}); err != nil {
				return err
			}
			return a.sizes().result(a, made)
		},
	})
	cmd.Flags().Int64Var(&want.VCPUs, "cpu", 0, "virtual CPUs")
	cmd.Flags().Var(&memory, "memory", "memory, as 512MiB or 4GiB")
	cmd.Flags().Var(&disk, "disk", "disk, as 20GiB; 0 for none or the image's own size")
	cmd.MarkFlagRequired("cpu")
	cmd.MarkFlagRequired("memory")
	return cmd
}

func (a *App) sizeList() *cobra.Command {
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the sizes",
		example: "orchd size list\norchd size list -o json",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Size](ctx, a, "/v1/sizes", nil)
			if err != nil {
				return err
			}
			return a.sizes().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}

func (a *App) sizeShow() *cobra.Command {
	return a.verb(verb{
		use:     "show NAME",
		short:   "Show a size",
		example: "orchd size show f1-s",
		min:     1, max: 1, noun: sizeNames,
		run: func(ctx context.Context, args []string) error {
			s, err := show[api.Size](ctx, a, sizePath(args[0]))
			if err != nil {
				return err
			}
			return a.sizes().one(a, s)
		},
	})
}

func (a *App) sizeDeprecate() *cobra.Command {
	var off bool
	cmd := a.verb(verb{
		use:     "deprecate NAME...",
		short:   "Let no new virtual machine have a size; those that have it stay as they are",
		example: "orchd size deprecate big\norchd size deprecate big --off     # new ones may have it again",
		min:     1, max: many, noun: sizeNames,
		run: func(ctx context.Context, args []string) error {
			return changeEach(ctx, a, args, a.sizes(), func(ref string) call {
				return call{method: "PATCH", path: sizePath(ref), in: api.SizeUpdate{Deprecated: !off}}
			})
		},
	})
	cmd.Flags().BoolVar(&off, "off", false, "take it back")
	return cmd
}

// changeEach makes a call for each name and prints what the answers show.
func changeEach[T any](ctx context.Context, a *App, refs []string, l listing[T], ask func(ref string) call) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var changed []T
	failed := each(ctx, refs, func(ref string) error {
		var v T
		k := ask(ref)
		k.out = &v
		if err := c.do(ctx, k); err != nil {
			return err
		}
		changed = append(changed, v)
		return nil
	})
	switch {
	case len(changed) == 0:
		return failed
	case len(refs) == 1:
		return l.result(a, changed[0])
	}
	return together(failed, l.all(a, changed))
}

func (a *App) sizeDelete() *cobra.Command {
	cmd := a.verb(verb{
		use:     "delete NAME...",
		short:   "Forget sizes; virtual machines keep the amounts that they were made with",
		example: "orchd size delete big",
		min:     1, max: many, noun: sizeNames,
		run: func(ctx context.Context, args []string) error {
			return a.remove(ctx, "/v1/sizes/", "size", args)
		},
	})
	cmd.Aliases = []string{"rm"}
	return cmd
}
