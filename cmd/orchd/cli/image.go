package cli

import (
	"context"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) image() *cobra.Command {
	return a.group("image", "What virtual machines boot", `
orchd image create debian-12 --file debian-12.qcow2 --format qcow2
orchd image create tiny --kernel /srv/vmlinuz --initrd /srv/initrd --cmdline console=ttyS0
orchd image list`,
		a.imageCreate(), a.imageList(), a.imageShow(), a.imageDownload(), a.imageDelete())
}

func (a *App) images() listing[api.ImageView] {
	type I = api.ImageView
	return listing[I]{
		name: func(i I) string { return i.Name },
		columns: []column[I]{
			{head: "NAME", text: func(i I) string { return i.Name }},
			{head: "STATE", text: func(i I) string { return string(i.State) }},
			{head: "KIND", text: func(i I) string { return i.Kind }},
			{head: "FORMAT", text: func(i I) string { return i.Format }},
			{head: "BYTES", text: imageBytes, key: "bytes", raw: func(i I) string { return number(i.Bytes) }},
			{head: "FROM", text: from},
			{head: "PEERS", text: func(i I) string { return strings.Join(i.Peers, " ") }},
			{head: "AGE", text: func(i I) string { return a.age(i.CreatedAt) }, key: "created_at", raw: func(i I) string { return moment(i.CreatedAt) }},
			{head: "ACCOUNT", wide: true, text: func(i I) string { return i.Account }},
			{head: "DISK", wide: true, text: func(i I) string { return sizeUnlessZero(i.VirtualBytes, about) }, key: "virtual_bytes", raw: func(i I) string { return number(i.VirtualBytes) }},
			{head: "SHA256", wide: true, text: func(i I) string { return i.SHA256 }},
			{head: "INITRD", wide: true, text: func(i I) string { return i.Initrd }},
			{head: "CMDLINE", wide: true, text: func(i I) string { return i.Cmdline }},
			{head: "OPERATION", wide: true, text: func(i I) string { return i.Operation }},
			{head: "ID", wide: true, text: func(i I) string { return i.ID }},
			{head: "REASON", wide: true, text: func(i I) string { return i.Reason }},
		},
	}
}

func imageBytes(i api.ImageView) string { return sizeUnlessZero(i.Bytes, about) }

// from is where the content of an image comes from.
func from(i api.ImageView) string {
	switch i.Source {
	case api.SourceUpload:
		return "upload"
	case api.SourceURL:
		return i.URL
	case api.SourceVM:
		return "vm " + i.VM
	}
	return i.Path + i.Kernel
}

func imagePath(ref string) string { return "/v1/images/" + url.PathEscape(ref) }

func (a *App) imageList() *cobra.Command {
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the images, and which peers have a copy",
		example: "orchd image list\norchd image list -o name",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.ImageView](ctx, a, "/v1/images", nil)
			if err != nil {
				return err
			}
			if a.flags.output != "name" {
				err = a.findCopies(ctx, items)
			}
			return together(err, a.images().all(a, items))
		},
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}

// findCopies asks for each image that orchd keeps who has a copy, where the list has
// not said it.
func (a *App) findCopies(ctx context.Context, items []api.ImageView) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	for n, i := range items {
		if !i.Kept() || i.State != api.ImageAvailable || len(i.Peers) > 0 {
			continue
		}
		if err := c.get(ctx, imagePath(i.ID), nil, &items[n]); err != nil && !api.IsKind(err, api.NotFound) {
			return err
		}
	}
	return nil
}

func (a *App) imageShow() *cobra.Command {
	return a.verb(verb{
		use:     "show NAME",
		short:   "Show an image, and which peers have a copy",
		example: "orchd image show debian-12",
		min:     1, max: 1, noun: imageNames,
		run: func(ctx context.Context, args []string) error {
			i, err := show[api.ImageView](ctx, a, imagePath(args[0]))
			if err != nil {
				return err
			}
			return a.images().one(a, i)
		},
	})
}

func (a *App) imageDelete() *cobra.Command {
	cmd := a.verb(verb{
		use:   "delete NAME...",
		short: "Forget images and delete the copies that orchd keeps; files that it does not keep stay",
		example: `
orchd image delete debian-12`,
		min: 1, max: many, noun: imageNames,
		run: func(ctx context.Context, args []string) error {
			return a.remove(ctx, "/v1/images/", "image", args)
		},
	})
	cmd.Aliases = []string{"rm"}
	return cmd
}
