package libvirt

import (
	"cmp"
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
	Filter   string // default FilterAuto
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
	switch c.Filter {
	case FilterAuto, FilterOn, FilterOff:
	default:
		errs = append(errs, fmt.Errorf("libvirt: filter %q is none of auto, on, off", c.Filter))
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
	consoles  consoles
	screen    chan none // holds one: whose picture is being taken
	filtering filtering
}

var _ vmm.Hypervisor = (*Driver)(nil)

// New makes a driver and the folder of disks. It does not speak to libvirtd
// yet, which may come up later than orchd does.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	if cfg.URI == "" {
		cfg.URI = string(golibvirt.QEMUSystem)
	}
	cfg.VirtType = cmp.Or(cfg.VirtType, VirtAuto)
	cfg.Filter = cmp.Or(cfg.Filter, FilterAuto)
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	// QEMU's own user opens files in it by name, and lists nothing.
	if err := errors.Join(os.MkdirAll(cfg.Disks, 0o711), os.Chmod(cfg.Disks, 0o711)); err != nil {
		return nil, fmt.Errorf("libvirt: make the folder of disks: %w", err)
	}
	if err := linkFolder(cfg.Disks); err != nil {
		return nil, err
	}
	a, err := parseURI(cfg.URI)
	if err != nil {
		return nil, err
	}
	return &Driver{cfg: cfg, address: a, log: log, questions: newLink(a, inFlight), jobs: newLink(a, inFlight), disks: newLink(a, 1), screen: make(chan none, 1)}, nil
}

// Driver is api.DriverLibvirt.
func (d *Driver) Driver() string { return api.DriverLibvirt }

// Close closes the connections and the consoles.
func (d *Driver) Close() error {
	d.consoles.close()
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
