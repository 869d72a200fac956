package cli

import (
	"context"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) image() *cobra.Command {
	return a.group("image", "What virtual machines boot", `
orchd image create debian-12 --path /srv/images/debian-12.qcow2 --format qcow2
orchd image create tiny --kernel /srv/vmlinuz --initrd /srv/initrd --cmdline console=ttyS0
orchd image list`,
		a.imageCreate(), a.imageList(), a.imageShow(), a.imageDelete())
}

func (a *App) images() listing[api.Image] {
	type I = api.Image
	return listing[I]{
		name: func(i I) string { return i.Name },
		columns: []column[I]{
			{head: "NAME", text: func(i I) string { return i.Name }},
			{head: "KIND", text: func(i I) string { return i.Kind }},
			{head: "FORMAT", text: func(i I) string { return i.Format }},
			{head: "PATH", text: func(i I) string { return i.Path + i.Kernel }},
			{head: "AGE", text: func(i I) string { return a.age(i.CreatedAt) }, key: "created_at", raw: func(i I) string { return moment(i.CreatedAt) }},
			{head: "INITRD", wide: true, text: func(i I) string { return i.Initrd }},
			{head: "CMDLINE", wide: true, text: func(i I) string { return i.Cmdline }},
			{head: "ID", wide: true, text: func(i I) string { return i.ID }},
		},
	}
}

func (a *App) imageCreate() *cobra.Command {
	var want api.ImageCreate
	cmd := a.verb(verb{
		use:   "create NAME",
		short: "Name a file that lies on the peers, so that VMs can boot it (admins only)",
		example: `
orchd image create debian-12 --path /srv/images/debian-12.qcow2 --format qcow2
orchd image create tiny --kernel /srv/vmlinuz --initrd /srv/initrd --cmdline console=ttyS0`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error {
			want.Name = args[0]
			if want.Kind == "" {
				want.Kind = imageKind(want)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var made api.Image
			if err := c.do(ctx, call{method: "POST", path: "/v1/images", in: want, out: &made}); err != nil {
				return err
			}
			return a.images().result(a, made)
		},
	})
	f := cmd.Flags()
	f.StringVar(&want.Kind, "kind", "", "disk or kernel (default: as the other flags say)")
	f.StringVar(&want.Path, "path", "", "disk: absolute path on each peer")
	f.StringVar(&want.Format, "format", "", "disk: qcow2 or raw; never guessed (default raw)")
	f.StringVar(&want.Kernel, "kernel", "", "kernel: absolute path on each peer")
	f.StringVar(&want.Initrd, "initrd", "", "kernel: initial ramdisk, absolute path on each peer")
	f.StringVar(&want.Cmdline, "cmdline", "", "kernel: its command line")
	cmd.MarkFlagsOneRequired("path", "kernel")
	cmd.MarkFlagsMutuallyExclusive("path", "kernel")
	a.completeFlag(cmd, "kind", words([]string{api.ImageDisk, api.ImageKernel}))
	a.completeFlag(cmd, "format", words([]string{"qcow2", "raw"}))
	return cmd
}

func imageKind(c api.ImageCreate) string {
	if c.Kernel != "" {
		return api.ImageKernel
	}
	return api.ImageDisk
}

func (a *App) imageList() *cobra.Command {
	return a.verb(verb{
		use:     "list",
		short:   "List the images",
		example: "orchd image list\norchd image list -o name",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Image](ctx, a, "/v1/images", nil)
			if err != nil {
				return err
			}
			return a.images().all(a, items)
		},
	})
}

func (a *App) imageShow() *cobra.Command {
	return a.verb(verb{
		use:     "show NAME",
		short:   "Show an image",
		example: "orchd image show debian-12",
		min:     1, max: 1, noun: imageNames,
		run: func(ctx context.Context, args []string) error {
			i, err := show[api.Image](ctx, a, "/v1/images/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return a.images().one(a, i)
		},
	})
}

func (a *App) imageDelete() *cobra.Command {
	cmd := a.verb(verb{
		use:     "delete NAME...",
		short:   "Forget images; the files on the peers stay",
		example: "orchd image delete debian-12",
		min:     1, max: many, noun: imageNames,
		run: func(ctx context.Context, args []string) error {
			return a.remove(ctx, "/v1/images/", "image", args)
		},
	})
	cmd.Aliases = []string{"rm"}
	return cmd
}
