package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// Deadlines of calls. Starting and stopping wait for QEMU: libvirt itself waits
// 15 s for a process to die, and longer for one to answer.
const (
	askLimit    = 5 * time.Second
	listLimit   = 10 * time.Second
	changeLimit = 15 * time.Second
	stopLimit   = 40 * time.Second
	startLimit  = 60 * time.Second
)

// The kinds of domain, in Config.VirtType.
const (
	VirtAuto = "auto" // kvm if libvirt offers it, else qemu
	VirtKVM  = "kvm"
	VirtQEMU = "qemu" // emulation: slow, and works everywhere
)

// Config is what the driver must know.
type Config struct {
	URI      string // default qemu:///system; ?socket=PATH for another socket
	Cluster  string // id of the cluster whose domains these are
	Disks    string // absolute path of the folder of disks and console logs
	VirtType string // default VirtAuto
}

// Validate reports everything that is wrong at once.
func (c Config) Validate() error {
	_, err := parseURI(c.URI)
	errs := []error{err}
	if !api.IsUUID(c.Cluster) {
		errs = append(errs, errors.New("libvirt: cluster is no UUID"))
	}
	if !filepath.IsAbs(c.Disks) || filepath.Clean(c.Disks) != c.Disks {
		errs = append(errs, fmt.Errorf("libvirt: the folder of disks, %q, is no absolute, plain path", c.Disks))
	}
	switch c.VirtType {
	case VirtAuto, VirtKVM, VirtQEMU:
	default:
		errs = append(errs, fmt.Errorf("libvirt: virt_type %q is none of auto, kvm, qemu", c.VirtType))
	}
	return errors.Join(errs...)
}

// Driver speaks to one libvirtd. All methods may be called at any time.
type Driver struct {
	cfg       Config
	address   address
	log       *slog.Logger
	questions *link // Host, List
	jobs      *link // what changes a domain
	disks     *link // what changes the pool: one at a time, for a pool that makes a volume refuses to be refreshed
}

var _ vmm.Hypervisor = (*Driver)(nil)

// New makes a driver and the folder of disks. It does not speak to libvirtd
// yet, which may come up later than orchd does.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	if cfg.URI == "" {
		cfg.URI = string(golibvirt.QEMUSystem)
	}
	if cfg.VirtType == "" {
		cfg.VirtType = VirtAuto
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	// QEMU's own user opens files in it by name, and lists nothing.
	if err := errors.Join(os.MkdirAll(cfg.Disks, 0o711), os.Chmod(cfg.Disks, 0o711)); err != nil {
		return nil, fmt.Errorf("libvirt: make the folder of disks: %w", err)
	}
	a, err := parseURI(cfg.URI)
	if err != nil {
		return nil, err
	}
	return &Driver{cfg: cfg, address: a, log: log, questions: newLink(a, inFlight), jobs: newLink(a, inFlight), disks: newLink(a, 1)}, nil
}

// Driver is api.DriverLibvirt.
func (d *Driver) Driver() string { return api.DriverLibvirt }

// Close closes the connections.
func (d *Driver) Close() error {
	d.questions.close()
	d.jobs.close()
	d.disks.close()
	return nil
}

// Host asks libvirtd for processors, memory and its id of the host. The disk is
// the whole file system that holds the folder of disks.
func (d *Driver) Host(ctx context.Context) (vmm.HostInfo, error) {
	node, err := ask(ctx, d.questions, "host", askLimit, func(rpc *golibvirt.Libvirt) (api.Resources, error) {
		_, kib, cpus, _, _, _, _, _, err := rpc.NodeGetInfo()
		return api.Resources{VCPUs: int64(cpus), MemoryMiB: int64(kib >> 10)}, err
	})
	if err != nil {
		return vmm.HostInfo{}, err
	}
	caps, err := d.capabilities(ctx)
	if err != nil {
		return vmm.HostInfo{}, err
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.cfg.Disks, &fs); err != nil {
		return vmm.HostInfo{}, fmt.Errorf("libvirt: size of the file system of %s: %w", d.cfg.Disks, err)
	}
	node.DiskGiB = int64(fs.Blocks) * fs.Bsize >> 30
	return vmm.HostInfo{Capacity: node, UUID: caps.Host.UUID}, nil
}

// capabilities is what libvirtd says of the host and of what it can run.
func (d *Driver) capabilities(ctx context.Context) (libvirtxml.Caps, error) {
	var caps libvirtxml.Caps
	text, err := ask(ctx, d.questions, "capabilities", askLimit, (*golibvirt.Libvirt).ConnectGetCapabilities)
	if err != nil {
		return caps, err
	}
	if err := caps.Unmarshal(text); err != nil {
		return caps, fmt.Errorf("libvirt: read the host's capabilities: %w", err)
	}
	return caps, nil
}

// Define makes the domain, checked by libvirt against its schema.
func (d *Driver) Define(ctx context.Context, b vmm.Build) error {
	kind, err := d.domainKind(ctx)
	if err != nil {
		return err
	}
	text, err := buildXML(factsOf(b, kind, d.cfg.Disks))
	if err != nil {
		return err
	}
	id, err := parseUUID(b.Mark.VM)
	if err != nil {
		return err
	}
	return d.jobs.call(ctx, "define", changeLimit, func(rpc *golibvirt.Libvirt) error {
		// To define again would change the domain in place: it must not exist.
		_, err := rpc.DomainLookupByUUID(id)
		if err == nil {
			return api.Errorf(api.Conflict, "libvirt.define", "a domain with UUID %s exists", b.Mark.VM)
		}
		if !is(err, golibvirt.ErrNoDomain) {
			return err
		}
		dom, err := rpc.DomainDefineXMLFlags(text, golibvirt.DomainDefineValidate)
		if err != nil {
			return err
		}
		return rpc.DomainSetAutostart(dom, 0)
	})
}

// Undefine removes a domain that is off, with what libvirt itself keeps of it.
func (d *Driver) Undefine(ctx context.Context, uuid string) error {
	flags := golibvirt.DomainUndefineManagedSave | golibvirt.DomainUndefineSnapshotsMetadata
	if !d.address.isTest() { // whose driver knows these two only
		flags |= golibvirt.DomainUndefineNvram | golibvirt.DomainUndefineCheckpointsMetadata
	}
	return d.change(ctx, "undefine", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		// libvirt would undefine a running domain too, and lose it when it ends.
		if err := refuseUnless(rpc, dom, isOff); err != nil {
			return err
		}
		return rpc.DomainUndefineFlags(dom, flags)
	})
}

// Start switches a domain on.
func (d *Driver) Start(ctx context.Context, uuid string) error {
	return d.change(ctx, "start", uuid, startLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOff); err != nil {
			return err
		}
		return rpc.DomainCreate(dom)
	})
}

// Shutdown presses the ACPI power button.
func (d *Driver) Shutdown(ctx context.Context, uuid string) error {
	flags := golibvirt.DomainShutdownAcpiPowerBtn
	if d.address.isTest() {
		flags = golibvirt.DomainShutdownDefault
	}
	return d.change(ctx, "shutdown", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		return rpc.DomainShutdownFlags(dom, flags)
	})
}

// Destroy ends QEMU.
func (d *Driver) Destroy(ctx context.Context, uuid string) error {
	return d.change(ctx, "destroy", uuid, stopLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		err := rpc.DomainDestroyFlags(dom, golibvirt.DomainDestroyDefault)
		if err != nil && refuseUnless(rpc, dom, isOff) == nil {
			return nil
		}
		return err
	})
}

// Suspend stops the processors.
func (d *Driver) Suspend(ctx context.Context, uuid string) error {
	return d.change(ctx, "suspend", uuid, changeLimit, func(rpc *golibvirt.Libvirt, dom golibvirt.Domain) error {
		if err := refuseUnless(rpc, dom, isOn); err != nil {
			return err
		}
		return rpc.DomainSuspend(dom)
	})
}

// What DomainIsActive answers.
const (
	isOff int32 = 0
	isOn  int32 = 1
)

// refuseUnless gives Conflict if the domain is not as it must be. libvirt's own
// refusals are of several kinds, from driver to driver.
func refuseUnless(rpc *golibvirt.Libvirt, dom golibvirt.Domain, want int32) error {
	active, err := rpc.DomainIsActive(dom)
	switch {
	case err != nil:
		return err
	case active != want && want == isOff:
		return api.Errorf(api.Conflict, "libvirt", "the domain is not off")
	case active != want:
		return api.Errorf(api.Conflict, "libvirt", "the domain is off")
	}
	return nil
}

// change is a call on one domain.
func (d *Driver) change(ctx context.Context, op, vm string, limit time.Duration, f func(*golibvirt.Libvirt, golibvirt.Domain) error) error {
	id, err := parseUUID(vm)
	if err != nil {
		return err
	}
	return d.jobs.call(ctx, op, limit, func(rpc *golibvirt.Libvirt) error {
		dom, err := rpc.DomainLookupByUUID(id)
		if err != nil {
			return err
		}
		return f(rpc, dom)
	})
}

// domainKind is the type that new domains get.
func (d *Driver) domainKind(ctx context.Context) (string, error) {
	switch {
	case d.address.isTest():
		return "test", nil
	case d.cfg.VirtType != VirtAuto:
		return d.cfg.VirtType, nil
	}
	caps, err := d.capabilities(ctx)
	if err != nil {
		return "", err
	}
	return bestKind(caps), nil
}

// bestKind is kvm if the host's own architecture has it.
func bestKind(c libvirtxml.Caps) string {
	for _, guest := range c.Guests {
		for _, domain := range guest.Arch.Domains {
			if domain.Type == VirtKVM && c.Host.CPU != nil && guest.Arch.Name == c.Host.CPU.Arch {
				return VirtKVM
			}
		}
	}
	return VirtQEMU
}

func parseUUID(s string) (golibvirt.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return golibvirt.UUID{}, api.Errorf(api.Invalid, "libvirt", "%q is no UUID", s)
	}
	return golibvirt.UUID(id), nil
}

// is tells whether libvirt answered with that error.
func is(err error, n golibvirt.ErrorNumber) bool {
	var e golibvirt.Error
	return errors.As(err, &e) && e.Code == uint32(n)
}
