package vmm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/orchd/orchd/api"
)

// Mark is what orchd writes into a domain, so that the domain itself says whose it is.
type Mark struct {
	Cluster string // id of the cluster
	VM      string // id of the VM; a domain whose UUID differs is a copy
	Epoch   uint64 // ownership epoch under which it was made
	Spec    string // Shape of what it was made from
}

// Shape is the SHA-256 of everything in b that a domain is made from: two
// builds of one shape make the same domain. What concerns only orchd (labels,
// placement, keys, the restart policy) is no part of it.
func Shape(b Build) string {
	var image string
	if b.Image != nil {
		image = b.Image.ID
	}
	canonical, err := json.Marshal(struct {
		Name                     string
		VCPUs, MemoryMiB, DiskGB int64
		Image                    string
		NIC                      *NIC
		Seeded                   bool
	}{b.Name, b.Spec.VCPUs, b.Spec.MemoryMiB, b.Spec.DiskGiB, image, b.NIC, b.Seeded})
	if err != nil {
		panic("vmm: a build is plain data: " + err.Error())
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// DomainName is the name that people see in virsh: the VM's name and the first
// eight digits of its id, because names are unique only within an account.
func DomainName(vm api.VM) string { return vm.Name + "-" + vm.ID[:8] }

// DiskName is the file name of the disk of one epoch of a VM. It carries the
// epoch, so that the disk of an older one is kept beside its successor's.
func DiskName(m Mark) string { return m.VM + ".epoch-" + strconv.FormatUint(m.Epoch, 10) }

// ConsoleName is the file name of a VM's console log; its older parts have more after it.
func ConsoleName(vm string) string { return vm + ".console.log" }

// SeedName is the file name of a VM's NoCloud image.
func SeedName(vm string) string { return vm + ".seed.iso" }

// NeedsDisk tells whether a domain has a disk: one of its own size, or one over a disk image.
func NeedsDisk(b Build) bool {
	return b.Spec.DiskGiB > 0 || b.Image != nil && b.Image.Kind == api.ImageDisk
}
