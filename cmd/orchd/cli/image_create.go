package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/voucher"
)

// newImage is what the flags of create ask for.
type newImage struct {
	want    api.ImageCreate
	file    string
	keyFile string
	wait    waiting
}

func (a *App) imageCreate() *cobra.Command {
	var n newImage
	cmd := a.verb(verb{
		use:   "create NAME",
		short: "Make an image of a file here, of a URL, or of files on the peers",
		long: "Make an image: of a file here (--file), of a URL (--url), of a file on one peer (--peer with --path), or of files\n" +
			"that lie on all peers (--path, --kernel). orchd keeps copies of the first three, checks them on arrival, and\n" +
			"brings them to the peers that need them; of the last it remembers the paths. Paths are for admins. An upload\n" +
			"that broke off goes on when the same command is given again.",
		example: `
orchd image create debian-12 --file debian-12.qcow2 --format qcow2
orchd image create debian-12 --url https://example.org/d12.qcow2 --sha256 SUM --format qcow2 --trust-key ./me.key
orchd image create tiny --kernel /srv/vmlinuz --initrd /srv/initrd --cmdline console=ttyS0`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error {
			n.want.Name = args[0]
			return a.createImage(ctx, n)
		},
	})
	imageSources(a, cmd, &n)
	f := cmd.Flags()
	f.StringVar(&n.want.Format, "format", "", "disk: qcow2 or raw; never guessed (default raw)")
	f.StringVar(&n.want.SHA256, "sha256", "", "what the content must have; needed with --url")
	f.StringVar(&n.want.Initrd, "initrd", "", "kernel: initial ramdisk, absolute path on each peer")
	f.StringVar(&n.want.Cmdline, "cmdline", "", "kernel: its command line")
	f.StringVar(&n.want.Account, "account", "", "the one account that may use it (default: the token's; an admin's is everybody's)")
	trustKeyFlag(cmd, &n.keyFile, "signs the content, where the cluster asks for that (orchd settings show: trust.image_weight)")
	n.wait.register(cmd)
	a.completeFlag(cmd, "format", words([]string{"qcow2", "raw"}))
	a.completeFlag(cmd, "account", accountNames)
	return cmd
}

// imageSources are the flags of which one says where an image comes from.
func imageSources(a *App, cmd *cobra.Command, n *newImage) {
	f := cmd.Flags()
	f.StringVar(&n.file, "file", "", "disk: a file on this machine, to upload")
	f.StringVar(&n.want.URL, "url", "", "disk: where a peer fetches it, https only")
	f.StringVar(&n.want.Path, "path", "", "disk: absolute path on each peer, or on the one that --peer names")
	f.StringVar(&n.want.Peer, "peer", "", "disk: the peer that has the file, to be copied into its store")
	f.StringVar(&n.want.Kernel, "kernel", "", "kernel: absolute path on each peer")
	f.StringVar(&n.want.Kind, "kind", "", "disk or kernel (default: as the other flags say)")
	cmd.MarkFlagsOneRequired("file", "url", "path", "kernel")
	for _, other := range []string{"url", "path", "kernel"} {
		cmd.MarkFlagsMutuallyExclusive("file", other)
	}
	cmd.MarkFlagsMutuallyExclusive("url", "path")
	cmd.MarkFlagsMutuallyExclusive("url", "kernel")
	cmd.MarkFlagsMutuallyExclusive("path", "kernel")
	a.completeFlag(cmd, "kind", words([]string{api.ImageDisk, api.ImageKernel}))
	a.completeFlag(cmd, "peer", peerNames)
}

// request is the create that the flags ask for, but for the sum of a file.
func (n newImage) request() (api.ImageCreate, error) {
	want := n.want
	if want.Kind == "" {
		want.Kind = imageKind(want)
	}
	switch {
	case n.file != "":
		want.Source = api.SourceUpload
	case want.URL != "":
		want.Source = api.SourceURL
	case want.Peer != "":
		want.Source = api.SourcePeer
	}
	switch {
	case want.URL != "" && want.SHA256 == "":
		return want, &failure{exitUsage, "--url needs --sha256: what comes over the net is checked", "take the sum from where the image is published"}
	case want.Peer != "" && want.Path == "":
		return want, usagef("--peer needs --path: the file on that peer")
	case n.keyFile != "" && (want.Kind == api.ImageKernel || n.file == "" && want.URL == "" && want.Peer == ""):
		return want, usagef("--trust-key: orchd does not check files that lie on all peers, so nothing can be signed for them; give --file, --url or --peer")
	case n.keyFile != "" && want.Peer != "" && want.SHA256 == "":
		return want, usagef("--trust-key with --peer needs --sha256: it is what is signed")
	}
	return want, nil
}

func imageKind(c api.ImageCreate) string {
	if c.Kernel != "" {
		return api.ImageKernel
	}
	return api.ImageDisk
}

func (a *App) createImage(ctx context.Context, n newImage) error {
	want, err := n.request()
	if err != nil {
		return err
	}
	key, err := a.trustKeyIn(n.keyFile)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if n.file != "" {
		made, err := a.uploadImage(ctx, c, want, imageFile{a.home(n.file), key})
		if err != nil {
			return err
		}
		return a.imageDone(ctx, c, made, n.wait)
	}
	var made api.Image
	if err := c.do(ctx, call{method: "POST", path: "/v1/images", in: signed(want, key), out: &made}); err != nil {
		return err
	}
	return a.imageDone(ctx, c, made, n.wait)
}

// signed is an image with a voucher for its sum; without a key as it was.
func signed(want api.ImageCreate, key ed25519.PrivateKey) api.ImageCreate {
	if key != nil {
		v := voucher.Sign(key, voucher.ImageText(want.SHA256))
		want.Voucher = &v
	}
	return want
}

// imageDone waits until the content is in, as the flags say, and prints the image.
func (a *App) imageDone(ctx context.Context, c client, made api.Image, w waiting) error {
	v := api.ImageView{Image: made}
	if w.no {
		return a.images().result(a, v)
	}
	if made.State == api.ImagePending {
		if err := a.finish(ctx, c, made.Operation, w.timeout); err != nil {
			return err
		}
	}
	if made.State == api.ImagePending || made.Kept() { // now it is known who has a copy
		if err := c.get(ctx, imagePath(made.ID), nil, &v); err != nil {
			return err
		}
	}
	return a.images().result(a, v)
}

// imageFile is a file here, and the key that signs its content; nil: nothing does.
type imageFile struct {
	path string
	key  ed25519.PrivateKey
}

// uploadImage makes an image of a file here. An image that already waits for the
// same content is filled: the command is safe to be given again.
func (a *App) uploadImage(ctx context.Context, c client, want api.ImageCreate, from imageFile) (made api.Image, err error) {
	file, err := os.Open(from.path)
	if err != nil {
		return made, usagef("--file: %v", err)
	}
	defer file.Close()
	size, err := sizeOf(file, from.path)
	if err != nil {
		return made, err
	}
	if err := rightFormat(file, from.path, want.Format); err != nil {
		return made, err
	}
	if want.SHA256 == "" {
		if want.SHA256, err = a.sum(file, size); err != nil {
			return made, err
		}
	}
	if made, err = c.pendingImage(ctx, signed(want, from.key)); err != nil || made.State == api.ImageAvailable {
		return made, err
	}
	return a.sendImage(ctx, c, made, file, size)
}

func sizeOf(file *os.File, path string) (int64, error) {
	info, err := file.Stat()
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, usagef("--file: %s is no plain file", path)
	case info.Size() == 0:
		return 0, usagef("--file: %s is empty", path)
	}
	return info.Size(), nil
}

// rightFormat refuses a qcow2 file whose format nobody has named: it would be
// taken for raw, and to guess would let a guest's own disk say what it is.
func rightFormat(file *os.File, path, format string) error {
	magic := make([]byte, 4)
	if _, err := file.ReadAt(magic, 0); err != nil && err != io.EOF {
		return err
	}
	if format == "" && bytes.Equal(magic, []byte("QFI\xfb")) {
		return usagef("--file: %s looks like qcow2, which is never guessed: add --format qcow2, or --format raw if it is the bare content of a disk", path)
	}
	return nil
}

// pendingImage makes the image that content goes into, or finds the one that
// waits for just this content.
func (c client) pendingImage(ctx context.Context, want api.ImageCreate) (api.Image, error) {
	var made api.Image
	err := c.do(ctx, call{method: "POST", path: "/v1/images", in: want, out: &made})
	if !api.IsKind(err, api.Conflict) {
		return made, err
	}
	var there api.Image
	if lookErr := c.get(ctx, imagePath(want.Name), nil, &there); lookErr != nil || there.Source != api.SourceUpload || there.SHA256 != want.SHA256 || there.State == api.ImageFailed {
		return made, err
	}
	if there.State == api.ImagePending {
		c.app.say("image %s waits for this content already; going on with it", there.Name)
	}
	return there, nil
}

// sendTries is how often an upload that was under way is begun anew.
const sendTries = 5

// sendImage uploads the content of an image. A connection that breaks on the way
// is no reason to give up: the whole is sent again.
func (a *App) sendImage(ctx context.Context, c client, to api.Image, file *os.File, size int64) (made api.Image, err error) {
	for try := 1; ; try++ {
		made, err = a.sendOnce(ctx, c, to, file, size)
		if err == nil || ctx.Err() != nil || exitCode(err) != exitUnreachable || try == sendTries {
			break
		}
		a.say("%s; sending it again", message(err))
		if err := pause(ctx, time.Duration(try)*time.Second); err != nil {
			return to, err
		}
	}
	if err != nil && ctx.Err() == nil && exitCode(err) == exitUnreachable {
		return to, &failure{exitUnreachable, message(err), "give the same command again: the image waits for its content"}
	}
	return made, err
}

func (a *App) sendOnce(ctx context.Context, c client, to api.Image, file *os.File, size int64) (api.Image, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return to, err
	}
	m := meter{app: a, name: to.Name}
	answer, err := c.api.Upload(ctx, imagePath(to.ID)+"/content", file, size, m.tell)
	m.end()
	if api.IsKind(err, api.Conflict) { // it may have arrived, and only the answer was lost
		var now api.Image
		if c.get(ctx, imagePath(to.ID), nil, &now) == nil && now.State == api.ImageAvailable && now.SHA256 == to.SHA256 {
			return now, nil
		}
	}
	if err != nil {
		return to, c.failed(ctx, answer, err)
	}
	err = json.Unmarshal(answer.Body, &to)
	return to, err
}
