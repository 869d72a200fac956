package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) imageDownload() *cobra.Command {
	var file string
	cmd := a.verb(verb{
		use:   "download NAME -O FILE",
		short: "Copy the content of an image that orchd keeps to a file here, checked",
		long: "Copy the content of an image that orchd keeps to a file here, checked. A download that broke off is taken up\n" +
			"where it broke, also when the command is given again.",
		example: "orchd image download debian-12 -O debian-12.qcow2",
		min:     1, max: 1, noun: imageNames,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var i api.ImageView
			if err := c.get(ctx, imagePath(args[0]), nil, &i); err != nil {
				return err
			}
			done, err := a.downloadImage(ctx, c, i.Image, a.home(file))
			if err != nil {
				return err
			}
			return a.files().result(a, done)
		},
	})
	cmd.Flags().StringVarP(&file, "file", "O", "", "the file to write")
	cmd.MarkFlagRequired("file")
	return cmd
}

// downloadImage copies the content of an image to a file, which has its name only
// once it is whole and checked. What came before a break is kept beside it, under a
// name that no other content has.
func (a *App) downloadImage(ctx context.Context, c client, i api.Image, to string) (done aFile, err error) {
	switch {
	case !i.Kept():
		return done, &failure{exitConflict, "orchd does not keep the content of " + i.Name + ": it lies on the peers under " + i.Path + i.Kernel, "copy it from there"}
	case i.State != api.ImageAvailable:
		return done, &failure{exitConflict, "the content of " + i.Name + " is not there: the image is " + string(i.State), "see how far it is: orchd image show " + i.Name}
	}
	part := to + "." + i.SHA256[:min(8, len(i.SHA256))] + ".part"
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return done, err
	}
	defer file.Close()
	if err := a.fetch(ctx, c, i, file, filepath.Base(to)); err != nil {
		return done, err
	}
	got, err := a.sum(file, i.Bytes)
	if err != nil {
		return done, err
	}
	if got != i.SHA256 {
		return done, errors.Join(&failure{exitFailed, "what came is not the content of " + i.Name + ": its sum is " + got + ", and should be " + i.SHA256, "try again; " + part + " is deleted"}, os.Remove(part))
	}
	if err := file.Close(); err != nil {
		return done, err
	}
	return aFile{to, i.Bytes}, os.Rename(part, to)
}

// fetch brings what is missing of the content into a file.
func (a *App) fetch(ctx context.Context, c client, i api.Image, file *os.File, name string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	have := info.Size()
	switch {
	case have == i.Bytes:
		return nil
	case have > i.Bytes:
		have = 0
		if err := file.Truncate(0); err != nil {
			return err
		}
	case have > 0:
		a.say("going on after %s of %s", about(have), about(i.Bytes))
	}
	m := meter{app: a, name: name}
	err = c.api.DownloadRest(ctx, imagePath(i.ID)+"/content", file, api.Begun{Done: have, Total: i.Bytes, ETag: `"` + i.SHA256 + `"`}, m.tell)
	m.end()
	if err != nil {
		return c.failed(ctx, api.Answer{}, err)
	}
	return nil
}

// sum is the SHA-256 of a file, which may be large.
func (a *App) sum(file io.ReaderAt, size int64) (string, error) {
	m := meter{app: a, name: "checking"}
	defer m.end()
	hash := sha256.New()
	section := io.NewSectionReader(file, 0, size)
	for done := int64(0); ; {
		n, err := io.CopyN(hash, section, 4<<20)
		done += n
		m.tell(done, size)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

func (a *App) vmExport() *cobra.Command {
	var image, file string
	var w waiting
	cmd := a.verb(verb{
		use:   "export NAME --image IMAGE",
		short: "Make an image of the disk of a stopped virtual machine, and with --file a file here",
		example: `
orchd vm export web1 --image web1-2026-11
orchd vm export web1 --image web1-2026-11 --file web1.qcow2`,
		min: 1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			if file != "" && w.no {
				return usagef("--file cannot come with --no-wait: the image must be whole before it can be downloaded")
			}
			return a.exportVM(ctx, args[0], image, a.home(file), w)
		},
	})
	cmd.Flags().StringVar(&image, "image", "", "what to call the image")
	cmd.Flags().StringVar(&file, "file", "", "also download it to this file; it goes on where it broke when the command is given again")
	cmd.MarkFlagRequired("image")
	w.register(cmd)
	return cmd
}

// exportVM makes an image of a disk. With a file, an image of that name that was
// made of this very VM is taken as it is: only the download was missing.
func (a *App) exportVM(ctx context.Context, ref, image, file string, w waiting) error {
	c, vm, err := a.findVM(ctx, ref)
	if err != nil {
		return err
	}
	var made api.Image
	err = c.do(ctx, call{method: "POST", path: "/v1/vms/" + vm.ID + "/export", in: api.VMExport{Image: image}, out: &made})
	if file != "" && api.IsKind(err, api.Conflict) {
		there := api.Image{}
		if c.get(ctx, imagePath(image), nil, &there) == nil && there.Source == api.SourceVM && there.VM == vm.ID {
			a.say("image %s was made of %s %s ago; downloading it", image, vm.Name, a.age(there.CreatedAt))
			made, err = there, nil
		}
	}
	if err != nil {
		return err
	}
	if file == "" {
		return a.imageDone(ctx, c, made, w)
	}
	if made.State == api.ImagePending {
		if err := a.finish(ctx, c, made.Operation, w.timeout); err != nil {
			return err
		}
	}
	if err := c.get(ctx, imagePath(made.ID), nil, &made); err != nil {
		return err
	}
	done, err := a.downloadImage(ctx, c, made, file)
	if err != nil {
		return err
	}
	return a.files().result(a, done)
}
