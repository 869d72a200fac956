package fsm

import (
	"fmt"
	"slices"

	"github.com/orchd/orchd/api"
)

// draft is a VM that is asked for, with all that it names looked up.
type draft struct {
	api.VMCreate
	image   api.Image    // without one: of no kind
	network *api.Network // nil: none
	keys    []string     // the texts of its SSH keys
	faults  faults
}

// drafted looks up what a create names and fills in what it leaves out. userData
// is sealed.
func drafted(r Reader, c api.VMCreate, userData []byte) draft {
	d := draft{VMCreate: c}
	d.faults.wrong(!api.ValidName(c.Name), "/name", badName)
	d.faults = append(d.faults, labelFaults("/labels", c.Labels)...)
	d.lookUpImage(r)
	d.lookUpSize(r)
	d.fitImage()
	d.lookUpNetwork(r)
	d.lookUpKeys(r)
	d.faults.wrong(c.Spec.UserData != "" || len(userData) > maxSealed, "/spec/user_data", "must have at most 262144 bytes")
	d.faults = append(d.faults, placementFaults(r, c.Spec.Placement)...)
	if host, known := r.Peer(c.Spec.Placement.Peer); known {
		d.Spec.Placement.Peer = host.Name // it may have been given by id
	}
	d.faults.restart("/spec/restart", c.Spec.Restart)
	if c.Spec.Restart == "" {
		d.Spec.Restart = api.RestartOnFailure
	}
	nobody := d.image.Kind == api.ImageDisk && d.network != nil && len(d.Spec.SSHKeys)+len(userData) == 0
	d.faults.wrong(nobody, "/spec/ssh_keys", "nobody could log in: name at least one SSH key, or give user-data")
	return d
}

// lookUpImage finds the image, which may have been given by id. One of another
// account is not there.
func (d *draft) lookUpImage(r Reader) {
	if d.Spec.Image == "" {
		return
	}
	image, known := imageFor(r, d.Account, d.Spec.Image)
	if !known {
		d.faults.wrong(true, "/spec/image", "no such image")
		return
	}
	d.image, d.Spec.Image = image, image.Name
}

// lookUpSize takes the amounts from the size, if one is named. The disk alone may
// be larger than that of the size.
func (d *draft) lookUpSize(r Reader) {
	if d.Spec.Size == "" {
		d.faults.amounts("/spec", d.Spec)
		return
	}
	size, known := r.Size(d.Spec.Size)
	switch {
	case !known:
		d.faults.wrong(true, "/spec/size", "no such size")
		return
	case size.Deprecated:
		d.faults.wrong(true, "/spec/size", "this size is deprecated: no new VM may have it")
	}
	d.faults.wrong(d.Spec.VCPUs != 0, "/spec/vcpus", "comes from the size; leave it out, or leave out the size")
	d.faults.wrong(d.Spec.MemoryMiB != 0, "/spec/memory_mib", "comes from the size; leave it out, or leave out the size")
	d.faults.wrong(d.Spec.DiskGiB > maxDiskGiB || d.Spec.DiskGiB != 0 && d.Spec.DiskGiB < size.DiskGiB, "/spec/disk_gib",
		fmt.Sprintf("must be from %d, the size's, to 1048576; or leave it out", size.DiskGiB))
	d.Spec.Size, d.Spec.VCPUs, d.Spec.MemoryMiB = size.Name, size.VCPUs, size.MemoryMiB
	d.Spec.DiskGiB = max(d.Spec.DiskGiB, size.DiskGiB)
}

// fitImage makes the disk at least as large as the image's, as far as that is
// known: what is promised must be what can be filled.
func (d *draft) fitImage() {
	const gib = 1 << 30
	needs := (d.image.VirtualBytes + gib - 1) / gib
	if d.image.Kind != api.ImageDisk || d.Spec.DiskGiB >= needs {
		return
	}
	d.faults.wrong(d.Spec.DiskGiB > 0, "/spec/disk_gib", fmt.Sprintf("the image has a disk of %d GiB; ask for that much, or for 0", needs))
	d.Spec.DiskGiB = needs
}

// lookUpNetwork finds the network, which may have been given by id.
func (d *draft) lookUpNetwork(r Reader) {
	if d.Spec.Network == "" {
		return
	}
	network, known := r.Network(d.Spec.Network)
	switch {
	case !known:
		d.faults.wrong(true, "/spec/network", "no such network")
	case network.Bridge == "" && network.Libvirt == "":
		d.faults.wrong(true, "/spec/network", "this network has neither a bridge nor a network of libvirt to plug a VM into")
	default:
		d.network, d.Spec.Network = &network, network.Name
	}
}

// lookUpKeys finds the SSH keys, of the account alone, each once.
func (d *draft) lookUpKeys(r Reader) {
	asked := d.Spec.SSHKeys
	d.Spec.SSHKeys = nil
	if len(asked) > maxKeys {
		d.faults.wrong(true, "/spec/ssh_keys", fmt.Sprintf("at most %d keys", maxKeys))
		return
	}
	for k, ref := range asked {
		key, known := r.SSHKey(d.Account, ref)
		if !known || key.Account != d.Account {
			d.faults.wrong(true, fmt.Sprintf("/spec/ssh_keys/%d", k), "the account has no such SSH key")
			continue
		}
		if slices.Contains(d.Spec.SSHKeys, key.Name) {
			continue
		}
		text := key.PublicKey
		if key.Comment != "" {
			text += " " + key.Comment
		}
		d.Spec.SSHKeys = append(d.Spec.SSHKeys, key.Name)
		d.keys = append(d.keys, text)
	}
}

// bootable refuses an image whose content is not there.
func (d *draft) bootable(op string) error {
	i := d.image
	if i.State == api.ImageAvailable || i.State == "" { // one of an older release lies under a path
		return nil
	}
	why := "its content is not there yet"
	if i.State == api.ImageFailed {
		why = "its content could not be brought in: " + i.Reason
	} else if i.Operation != "" {
		why += "; see operation " + i.Operation
	}
	e := api.Errorf(api.Conflict, op, "image %q is %s: %s", i.Name, i.State, why)
	e.Fields = []api.FieldError{{Pointer: "/spec/image", Detail: why}}
	return e
}

// holds is what the VM takes of its account's quota.
func (d *draft) holds() api.Quota {
	q := api.Quota{VMs: 1, VCPUs: d.Spec.VCPUs, MemoryMiB: d.Spec.MemoryMiB, DiskGiB: d.Spec.DiskGiB}
	if d.network != nil {
		q.Addresses = int64(len(ranges(*d.network)))
	}
	return q
}
