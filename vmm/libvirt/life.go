package libvirt

import (
	"context"
	"errors"
	"io"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

var errNotYet = errors.New("not there yet")

func (d *Driver) PutSeed(context.Context, string, []byte) error               { return errNotYet }
func (d *Driver) Reshape(context.Context, vmm.Build) error                    { return errNotYet }
func (d *Driver) Hotplug(context.Context, vmm.Build) error                    { return errNotYet }
func (d *Driver) Resume(context.Context, string) error                        { return errNotYet }
func (d *Driver) SnapshotDisk(context.Context, vmm.Build, string) error       { return errNotYet }
func (d *Driver) RevertDisk(context.Context, vmm.Build, string) error         { return errNotYet }
func (d *Driver) DropSnapshot(context.Context, vmm.Build, string) error       { return errNotYet }
func (d *Driver) CopyDisk(context.Context, vmm.Build, string) error           { return errNotYet }
func (d *Driver) Console(context.Context, string) (io.ReadWriteCloser, error) { return nil, errNotYet }
func (d *Driver) ConsoleLog(context.Context, string, int64) (io.ReadCloser, error) {
	return nil, errNotYet
}
func (d *Driver) Screenshot(context.Context, string) ([]byte, error)     { return nil, errNotYet }
func (d *Driver) Stats(context.Context) ([]vmm.Stats, error)             { return nil, errNotYet }
func (d *Driver) Seen(context.Context, string) ([]api.VMAddress, error)  { return nil, errNotYet }
func (d *Driver) Strangers(context.Context) ([]api.ForeignDomain, error) { return nil, errNotYet }
func (d *Driver) Adopt(context.Context, string, vmm.Mark, api.VM) error  { return errNotYet }
func (d *Driver) DiskFiles(context.Context) ([]string, error)                { return nil, errNotYet }
