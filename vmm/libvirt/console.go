package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// maxSocket is how long the path of a Unix socket may be (sun_path).
const maxSocket = 107

// runFolder holds links to folders of disks whose own paths are too long.
const runFolder = "/run/orchd"

// socketName is the file name of a VM's console while it is on.
func socketName(vm string) string { return vm + ".console.sock" }

// socketPath is where QEMU listens. libvirt makes the socket beside the console's
// log; in a folder whose path is too long for that, through a short link to it.
func socketPath(dir, vm string) string {
	if path := filepath.Join(dir, socketName(vm)); len(path) <= maxSocket {
		return path
	}
	return filepath.Join(linkTo(dir), socketName(vm))
}

func linkTo(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(runFolder, hex.EncodeToString(sum[:4]))
}

// linkFolder makes that link, which is gone after a boot, if the folder needs it.
func linkFolder(dir string) error {
	if len(dir)+len("/")+len(socketName("00000000-0000-0000-0000-000000000000")) <= maxSocket {
		return nil
	}
	link := linkTo(dir)
	if there, err := os.Readlink(link); err == nil && there == dir {
		return nil
	}
	if err := os.MkdirAll(runFolder, 0o755); err != nil {
		return fmt.Errorf("libvirt: make a short way to the folder of disks: %w", err)
	}
	if err := os.Symlink(dir, link); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("libvirt: make a short way to the folder of disks: %w", err)
	}
	return nil
}

// consoles are those that are open. QEMU lets one in at a time.
type consoles struct {
	mu   sync.Mutex
	open map[string]*console // by domain
}

// console is an open serial console.
type console struct {
	io.ReadWriteCloser
	once  sync.Once
	leave func()
}

// Close lets go of the console; more than once is no error.
func (c *console) Close() (err error) {
	c.once.Do(func() {
		err = c.ReadWriteCloser.Close()
		c.leave()
	})
	return err
}

// Console opens the serial console of a domain that is on, and closes the one
// that was open.
func (d *Driver) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	var at libvirtxml.DomainChardevSource
	err := d.change(ctx, "console", uuid, askLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		x, err := running(rpc, dom)
		if err != nil {
			return err
		}
		if x.Devices == nil || len(x.Devices.Serials) == 0 || x.Devices.Serials[0].Source == nil {
			return api.Errorf(api.Conflict, "libvirt.console", "the domain has no serial console")
		}
		at = *x.Devices.Serials[0].Source
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.consoles.enter(ctx, uuid, at)
}

func (c *consoles) enter(ctx context.Context, uuid string, at libvirtxml.DomainChardevSource) (io.ReadWriteCloser, error) {
	c.mu.Lock()
	before := c.open[uuid]
	c.mu.Unlock()
	if before != nil {
		_ = before.Close()
	}
	raw, err := openSerial(ctx, at)
	if err != nil {
		return nil, err
	}
	opened := &console{ReadWriteCloser: raw}
	opened.leave = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open[uuid] == opened {
			delete(c.open, uuid)
		}
	}
	c.mu.Lock()
	meanwhile := c.open[uuid] // somebody else was as fast
	if c.open == nil {
		c.open = map[string]*console{}
	}
	c.open[uuid] = opened
	c.mu.Unlock()
	if meanwhile != nil {
		_ = meanwhile.Close()
	}
	return opened, nil
}

// openSerial opens QEMU's socket, or the terminal that an adopted domain may have instead.
func openSerial(ctx context.Context, at libvirtxml.DomainChardevSource) (io.ReadWriteCloser, error) {
	switch {
	case at.UNIX != nil && at.UNIX.Mode == "bind":
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		c, err := new(net.Dialer).DialContext(ctx, "unix", at.UNIX.Path)
		if err != nil {
			return nil, &api.Error{Kind: api.Unavailable, Op: "libvirt.console", Msg: "the console does not answer", Err: err}
		}
		return c, nil
	case at.Pty != nil && at.Pty.Path != "":
		f, err := os.OpenFile(at.Pty.Path, os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			return nil, &api.Error{Kind: api.Unavailable, Op: "libvirt.console", Msg: "the console's terminal cannot be opened", Err: err}
		}
		return f, nil
	}
	return nil, api.Errorf(api.Conflict, "libvirt.console", "its serial console is neither a socket nor a terminal of this host")
}

func (c *consoles) close() {
	c.mu.Lock()
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for _, one := range open {
		_ = one.Close()
	}
}

// keptLogs is how many older parts virtlogd keeps of a log: .0 is the newest of them.
const keptLogs = 3

// ConsoleLog opens the last max bytes of what a console has said, over all parts that are left.
func (d *Driver) ConsoleLog(_ context.Context, vm string, max int64) (io.ReadCloser, error) {
	if !api.IsUUID(vm) {
		return nil, api.Errorf(api.Invalid, "libvirt.console", "%q is no VM's id", vm)
	}
	root, err := os.OpenRoot(d.cfg.Disks)
	if err != nil {
		return nil, fmt.Errorf("libvirt: open a console's log: %w", err)
	}
	defer root.Close()
	names := []string{vmm.ConsoleName(vm)}
	for i := range keptLogs {
		names = append(names, fmt.Sprintf("%s.%d", vmm.ConsoleName(vm), i))
	}
	var t tail
	for _, name := range names { // from the newest to the oldest
		if max <= 0 {
			break
		}
		read, err := t.prepend(root, name, max)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			_ = t.Close()
			return nil, fmt.Errorf("libvirt: open a console's log: %w", err)
		}
		max -= read
	}
	if len(t.files) == 0 && max > 0 {
		return nil, api.Errorf(api.NotFound, "libvirt.console", "its console has said nothing yet")
	}
	t.Reader = io.MultiReader(t.parts...)
	return &t, nil
}

// tail reads the ends of several files one after another.
type tail struct {
	io.Reader
	parts []io.Reader
	files []*os.File
}

// prepend puts the last max bytes of a file before the others.
func (t *tail) prepend(root *os.Root, name string, max int64) (int64, error) {
	f, err := root.Open(name)
	if err != nil {
		return 0, err
	}
	t.files = append(t.files, f)
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	n := min(info.Size(), max)
	t.parts = append([]io.Reader{io.NewSectionReader(f, info.Size()-n, n)}, t.parts...)
	return n, nil
}

// Close closes all files.
func (t *tail) Close() error {
	var errs []error
	for _, f := range t.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
