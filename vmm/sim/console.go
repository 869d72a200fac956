package sim

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"io"
	"slices"
	"sync"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// console is one end of a serial line; the guest on the other repeats what it hears.
type console struct {
	driver *Driver
	vm     string

	mu     sync.Mutex
	more   *sync.Cond
	heard  bytes.Buffer
	closed bool
}

// Console opens the line to a domain that is on and closes the one before.
func (d *Driver) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	c := &console{driver: d, vm: uuid}
	c.more = sync.NewCond(&c.mu)
	err := d.change(ctx, "Console", uuid, func(dom *vmm.Domain) error {
		if dom.Power == vmm.Off {
			return api.Errorf(api.Conflict, "sim.console", "the domain is off")
		}
		d.hangUpLocked(uuid)
		d.consoles[uuid] = c
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Read waits for the guest to say something.
func (c *console) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.heard.Len() == 0 && !c.closed {
		c.more.Wait()
	}
	return c.heard.Read(b) // io.EOF once it is closed and all was read
}

// Write says something to the guest.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return 0, io.ErrClosedPipe
	}
	c.driver.Say(c.vm, string(b))
	return len(b), nil
}

// Close lets go of the line.
func (c *console) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.more.Broadcast()
	return nil
}

func (c *console) hear(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.heard.Write(b)
		c.more.Broadcast()
	}
}

// Say is the guest that writes to its console.
func (d *Driver) Say(vm, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sayLocked(vm, []byte(text))
}

func (d *Driver) sayLocked(vm string, b []byte) {
	d.logs[vm] = append(d.logs[vm], b...)
	if c := d.consoles[vm]; c != nil {
		c.hear(b)
	}
}

func (d *Driver) hangUpLocked(vm string) {
	if c := d.consoles[vm]; c != nil {
		_ = c.Close()
		delete(d.consoles, vm)
	}
}

// ConsoleLog is the end of what was said.
func (d *Driver) ConsoleLog(ctx context.Context, vm string, max int64) (log io.ReadCloser, err error) {
	err = d.call(ctx, "ConsoleLog", func() error {
		text, there := d.logs[vm]
		if !there {
			return api.Errorf(api.NotFound, "sim.consolelog", "the console of %s has never said anything", vm)
		}
		log = io.NopCloser(bytes.NewReader(slices.Clone(text[len(text)-int(min(max, int64(len(text)))):])))
		return nil
	})
	return log, err
}

// Screenshot is a small picture: a white bar on black.
func (d *Driver) Screenshot(ctx context.Context, uuid string) (picture []byte, err error) {
	err = d.change(ctx, "Screenshot", uuid, func(dom *vmm.Domain) error {
		if dom.Power == vmm.Off {
			return api.Errorf(api.Conflict, "sim.screenshot", "the domain is off")
		}
		screen := image.NewGray(image.Rect(0, 0, 64, 48))
		for x := 8; x < 56; x++ {
			screen.SetGray(x, 24, color.Gray{255})
		}
		var out bytes.Buffer
		err := png.Encode(&out, screen)
		picture = out.Bytes()
		return err
	})
	return picture, err
}
