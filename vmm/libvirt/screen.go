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

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/orchd/orchd/api"
)

// maxScreen is how large a picture of a screen may be.
const maxScreen = 64 << 20

// Screenshot is what a domain shows on its screen, as PNG. QEMU draws it as PNG
// or, before 7.1, as PPM.
func (d *Driver) Screenshot(ctx context.Context, uuid string) (shown []byte, err error) {
	err = d.change(ctx, "screenshot", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		picture := bounded{left: maxScreen}
		_, failed := rpc.DomainScreenshot(dom, &picture, 0, 0)
		// go-libvirt looks for the kind of the picture where the end of the stream is,
		// and fails after a success: the picture itself tells whether it is whole.
		var theirs golibvirt.Error
		if errors.As(failed, &theirs) {
			return failed
		}
		whole, err := asPNG(picture.Bytes())
		if err != nil && failed != nil {
			return failed
		}
		shown = whole
		return err
	})
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
