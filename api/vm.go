package api

import (
	"regexp"
	"time"
)

// VMState is what a virtual machine is doing, as its owner last reported.
type VMState string

// The states of a VM. assigned -> creating -> running <-> stopped | paused;
// deleting ends in nothing. unknown is never stored: the leader says it of a VM
// whose owner it has not heard for 15 s.
const (
	VMAssigned VMState = "assigned" // owned, its owner has not begun
	VMCreating VMState = "creating" // its owner has begun
	VMRunning  VMState = "running"
	VMStopped  VMState = "stopped"
	VMPaused   VMState = "paused"
	VMCrashed  VMState = "crashed"
	VMFailed   VMState = "failed" // could not be made; Reason says why
	VMDeleting VMState = "deleting"
	VMUnknown  VMState = "unknown"
	VMLost     VMState = "lost" // its host was declared off for good
)

// Desired is what the user wants a VM to be.
type Desired string

// What can be wanted of a VM.
const (
	WantRunning Desired = "running"
	WantStopped Desired = "stopped"
	WantDeleted Desired = "deleted"
)

// VMSpec is what the user asks for.
type VMSpec struct {
	VCPUs     int64  `json:"vcpus" doc:"Virtual CPUs" minimum:"1" maximum:"1024"`
	MemoryMiB int64  `json:"memory_mib" doc:"Memory in MiB" minimum:"16" maximum:"67108864"`
	DiskGiB   int64  `json:"disk_gib,omitempty" doc:"Size of the disk in GiB; 0 for no disk, or the image's own size" minimum:"0" maximum:"1048576"`
	Image     string `json:"image,omitempty" doc:"Name of the image to boot; without one the disk is empty" maxLength:"63"`
}

// Resources is what the VM takes of its host.
func (s VMSpec) Resources() Resources { return Resources{s.VCPUs, s.MemoryMiB, s.DiskGiB} }

// VMStatus is what orchd knows of a VM; users do not set it.
type VMStatus struct {
	Owner     string   `json:"owner" doc:"Name of the peer that runs it"`
	OwnerID   string   `json:"owner_id" doc:"Id of the peer that runs it" format:"uuid"`
	Epoch     uint64   `json:"epoch" doc:"Ownership epoch: grows by one each time the owner changes"`
	Begun     bool     `json:"begun,omitempty" doc:"The owner has claimed this epoch: from here on it alone may touch the guest"`
	State     VMState  `json:"state" enum:"assigned,creating,running,stopped,paused,crashed,failed,deleting,unknown,lost"`
	Desired   Desired  `json:"desired" enum:"running,stopped,deleted"`
	Force     bool     `json:"force,omitempty" doc:"A stop or delete does not wait for the guest"`
	Reason    string   `json:"reason,omitempty" doc:"Why it is in this state, where that needs saying"`
	Operation string   `json:"operation,omitempty" doc:"Id of the newest operation on it"`
	Doubles   []string `json:"doubles,omitempty" doc:"Other peers on which a domain of this VM was seen: nobody touches it until a person has looked"`
}

// VM is a virtual machine that the cluster remembers.
type VM struct {
	ID        string            `json:"id" format:"uuid"`
	Name      string            `json:"name"`
	Account   string            `json:"account"`
	Labels    map[string]string `json:"labels,omitempty"`
	Spec      VMSpec            `json:"spec"`
	Status    VMStatus          `json:"status"`
	Version   uint64            `json:"version" doc:"Grows with each change of this VM; also its ETag"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

// VMCreate is the body of POST /v1/vms.
type VMCreate struct {
	Name    string            `json:"name" doc:"Unique in the account" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" example:"web1"`
	Account string            `json:"account,omitempty" doc:"Account it belongs to; default: the token's, else \"default\"" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	Labels  map[string]string `json:"labels,omitempty" doc:"Your own words on it, at most 64" maxProperties:"64"`
	Spec    VMSpec            `json:"spec"`
}

// VMUpdate is the body of PUT /v1/vms/{id}: what a user may set of an existing VM.
type VMUpdate struct {
	Labels map[string]string `json:"labels,omitempty" doc:"Replaces all labels" maxProperties:"64"`
}

// VMFilter selects VMs; empty fields select all.
type VMFilter struct {
	Peer, Account string
	State         VMState
	Labels        map[string]string
}

// Matches tells whether v is selected.
func (f VMFilter) Matches(v VM) bool {
	for k, want := range f.Labels {
		if got, ok := v.Labels[k]; !ok || got != want {
			return false
		}
	}
	return (f.Peer == "" || f.Peer == v.Status.Owner || f.Peer == v.Status.OwnerID) &&
		(f.Account == "" || f.Account == v.Account) &&
		(f.State == "" || f.State == v.Status.State)
}

// VMReport is what an owner says of one of its VMs.
type VMReport struct {
	VM     string   `json:"vm"`
	Epoch  uint64   `json:"epoch"`
	State  VMState  `json:"state"`
	Reason string   `json:"reason,omitempty"`
	Steps  []OpStep `json:"steps,omitempty"` // what the operation in hand took
}

// Sighting is a domain that carries this cluster's id and a VM's, seen on a
// host that does not own that VM, or a second time on the one that does.
type Sighting struct {
	VM    string `json:"vm"`
	Epoch uint64 `json:"epoch"`
	Gone  bool   `json:"gone,omitempty"` // it was seen before and is there no more
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// ValidName tells whether s can name a VM, an image, an account or a peer:
// 1 to 63 of a-z, 0-9 and "-", not beginning with "-", and no UUID.
func ValidName(s string) bool { return nameForm.MatchString(s) && !IsUUID(s) }

// IsUUID tells whether s is a UUID in its usual lower-case form (RFC 9562).
func IsUUID(s string) bool { return uuidForm.MatchString(s) }
