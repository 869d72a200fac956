package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/orchd/orchd/api"
)

// maxScreen is how large a picture of a screen may be.
const maxScreen = 64 << 20

// Screenshot is what a domain shows on its screen, as PNG. QEMU draws it as PNG
// or, before 7.1, as PPM. Pictures are taken one after the other, and each to its end, also
// when nobody waits for it any more: several streams at once, and such as are left in the
// middle, are what libvirtd has died of.
func (d *Driver) Screenshot(ctx context.Context, uuid string) ([]byte, error) {
	id, err := parseUUID(uuid)
	if err != nil {
		return nil, err
	}
	select {
	case d.screen <- none{}:
	case <-time.After(screenLimit):
		return nil, api.Errorf(api.Unavailable, "libvirt.screenshot", "pictures of other guests of this host are being taken: try again")
	case <-ctx.Done():
		return nil, explain("screenshot", ctx.Err())
	}
	type result struct {
		shown []byte
		err   error
	}
	taken := make(chan result, 1)
	go func() {
		defer func() { <-d.screen }()
		shown, err := d.shot(context.WithoutCancel(ctx), id)
		taken <- result{shown, explain("screenshot", err)}
	}()
	select {
	case r := <-taken:
		return r.shown, r.err
	case <-ctx.Done():
		return nil, explain("screenshot", ctx.Err())
	}
}

// screenLimit bounds one picture, and the wait for those before it.
const screenLimit = 15 * time.Second

// shot takes a picture over a connection that nothing else uses.
func (d *Driver) shot(ctx context.Context, id golibvirt.UUID) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, screenLimit)
	defer cancel()
	var stream *streaming
	c, err := dialThrough(ctx, d.address, func(raw net.Conn) net.Conn {
		stream = newStreaming(raw)
		return stream
	})
	if err != nil {
		return nil, err
	}
	defer c.close()
	defer stream.end()
	return do(ctx, c, func(rpc *golibvirt.Libvirt) ([]byte, error) {
		dom, err := rpc.DomainLookupByUUID(id)
		if err != nil {
			return nil, err
		}
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return nil, err
		}
		return shoot(rpc, dom)
	})
}

// shoot takes one picture.
func shoot(rpc *golibvirt.Libvirt, dom golibvirt.Domain) ([]byte, error) {
	picture := bounded{left: maxScreen}
	_, failed := rpc.DomainScreenshot(dom, &picture, 0, 0)
	// go-libvirt looks for the kind of the picture where the end of the stream is,
	// and fails after a success: the picture itself tells whether it is whole.
	if errors.As(failed, new(golibvirt.Error)) {
		return nil, failed
	}
	shown, err := asPNG(picture.Bytes())
	if err != nil && failed != nil {
		return nil, failed
	}
	return shown, err
}

// bounded is a buffer that takes so much and no more.
type bounded struct {
	bytes.Buffer
	left int
}

var errTooLarge = errors.New("libvirt: the picture is too large")

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, errTooLarge
	}
	b.left -= len(p)
	return b.Buffer.Write(p)
}

// asPNG gives a PNG as it is, and makes one of a PPM.
func asPNG(picture []byte) ([]byte, error) {
	if bytes.HasPrefix(picture, []byte("\x89PNG\r\n\x1a\n")) {
		if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
			return nil, api.Errorf(api.Internal, "libvirt.screenshot", "the picture does not read: %w", err)
		}
		return picture, nil
	}
	img, err := readPPM(bytes.NewReader(picture))
	if err != nil {
		return nil, api.Errorf(api.Internal, "libvirt.screenshot", "the picture does not read: %w", err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, api.Errorf(api.Internal, "libvirt.screenshot", "%w", err)
	}
	return out.Bytes(), nil
}

// readPPM reads a PPM (P6) of one byte a colour, as QEMU writes it.
func readPPM(r io.Reader) (image.Image, error) {
	var width, height, most int
	if _, err := fmt.Fscanf(r, "P6\n%d %d\n%d\n", &width, &height, &most); err != nil {
		return nil, err
	}
	if width < 1 || height < 1 || most != 255 || width > maxScreen/height/3 {
		return nil, fmt.Errorf("a PPM of %d times %d points with %d shades", width, height, most)
	}
	line := make([]byte, 3*width)
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		if _, err := io.ReadFull(r, line); err != nil {
			return nil, err
		}
		for x := range width {
			img.SetRGBA(x, y, color.RGBA{line[3*x], line[3*x+1], line[3*x+2], 255})
		}
	}
	return img, nil
}
