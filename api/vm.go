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
	WantPaused  Desired = "paused"
	WantDeleted Desired = "deleted"
)

// RestartPolicy says what becomes of a guest that ends without being asked to.
type RestartPolicy string

// The policies. Whatever it says, a guest is started again only after a pause
// that doubles from 1 s to 5 min while it keeps ending.
const (
	RestartAlways    RestartPolicy = "always"     // also when the guest switched itself off
	RestartOnFailure RestartPolicy = "on-failure" // when it crashed or its QEMU was killed; the default
	RestartNever     RestartPolicy = "never"      // it stays as it ended
)

// VMSpec is what the user asks for. A size stands for the three amounts; in a
// stored VM they are always filled in, so that a size may change or go.
type VMSpec struct {
	Size      string        `json:"size,omitempty" doc:"Name of a size; instead of vcpus, memory_mib and disk_gib" maxLength:"63"`
	VCPUs     int64         `json:"vcpus,omitempty" doc:"Virtual CPUs" minimum:"1" maximum:"1024"`
	MemoryMiB int64         `json:"memory_mib,omitempty" doc:"Memory in MiB" minimum:"16" maximum:"67108864"`
	DiskGiB   int64         `json:"disk_gib,omitempty" doc:"Size of the disk in GiB; 0 for no disk, or the image's own size" minimum:"0" maximum:"1048576"`
	Image     string        `json:"image,omitempty" doc:"Name of the image to boot; without one the disk is empty" maxLength:"63"`
	Network   string        `json:"network,omitempty" doc:"Name of the network that its one interface is on; without one it has none" maxLength:"63"`
	SSHKeys   []string      `json:"ssh_keys,omitempty" doc:"Names of SSH keys of the account that may log in" maxItems:"64"`
	UserData  string        `json:"user_data,omitempty" doc:"cloud-init user-data; sealed, and in no answer" writeOnly:"true" secret:"true" maxLength:"262144"`
	Placement Placement     `json:"placement,omitzero" doc:"Where it may and should be"`
	Restart   RestartPolicy `json:"restart,omitempty" doc:"What becomes of a guest that ends without being asked to; default on-failure" enum:"always,on-failure,never"`
}

// Resources is what the VM takes of its host.
func (s VMSpec) Resources() Resources { return Resources{s.VCPUs, s.MemoryMiB, s.DiskGiB} }

// VMAddress is an address that the log allotted to a VM: no other VM has it.
type VMAddress struct {
	IP      string    `json:"ip" doc:"Empty where only the MAC address is held: on a network without a range, or of an adopted domain"`
	MAC     string    `json:"mac"`
	Network string    `json:"network" doc:"Name of the network; empty: not known"`
	SeenAt  time.Time `json:"seen_at,omitzero" doc:"When its host last saw the guest use it"`
}

// HostKey is one of a guest's own SSH keys, gathered on its host and not over the network.
type HostKey struct {
	Type        string `json:"type" doc:"As ssh-ed25519"`
	Key         string `json:"key" doc:"The public key, base64"`
	Fingerprint string `json:"fingerprint" doc:"SHA256:..., as ssh shows it"`
}

// VMStatus is what orchd knows of a VM; users do not set it.
type VMStatus struct {
	Owner       string      `json:"owner" doc:"Name of the peer that runs it"`
	OwnerID     string      `json:"owner_id" doc:"Id of the peer that runs it" format:"uuid"`
	Epoch       uint64      `json:"epoch" doc:"Ownership epoch: grows by one each time the owner changes"`
	Begun       bool        `json:"begun,omitempty" doc:"The owner has claimed this epoch: from here on it alone may touch the guest"`
	State       VMState     `json:"state" enum:"assigned,creating,running,stopped,paused,crashed,failed,deleting,unknown,lost"`
	Desired     Desired     `json:"desired" enum:"running,stopped,paused,deleted"`
	Force       bool        `json:"force,omitempty" doc:"A stop or delete does not wait for the guest"`
	Reason      string      `json:"reason,omitempty" doc:"Why it is in this state, where that needs saying"`
	Operation   string      `json:"operation,omitempty" doc:"Id of the newest operation on it"`
	Addresses   []VMAddress `json:"addresses,omitempty" doc:"Allotted to it, and held by nobody else"`
	SSHHostKeys []HostKey   `json:"ssh_host_keys,omitempty" doc:"The guest's own keys, so that a first connection can be checked"`
	Restarting  bool        `json:"restarting,omitempty" doc:"It is stopped and then started again"`
	StopSeconds int64       `json:"stop_seconds,omitempty" doc:"How long the stop in hand waits for the guest before it uses force; 0: 30 s"`
	Suspended   bool        `json:"suspended,omitempty" doc:"Its account is suspended: it is kept off whatever is desired"`
	HasUserData bool        `json:"has_user_data,omitempty" doc:"It was given user-data"`
	Flags       []string    `json:"flags,omitempty" doc:"What orchd cannot manage of an adopted domain: disk-not-in-pool, no-cloud-init, address-unknown, address-taken, image-unknown"`
	Doubles     []string    `json:"doubles,omitempty" doc:"Other peers on which a domain of this VM was seen: nobody touches it until a person has looked"`
}

// VM is a virtual machine that the cluster remembers.
type VM struct {
	ID        string            `json:"id" format:"uuid"`
	Name      string            `json:"name"`
	Account   string            `json:"account"`
	Labels    map[string]string `json:"labels,omitempty"`
	Protected bool              `json:"protected,omitempty" doc:"It cannot be deleted until this is taken off"`
	Spec      VMSpec            `json:"spec"`
	Status    VMStatus          `json:"status"`
	Version   uint64            `json:"version" doc:"Grows with each change of this VM; also its ETag"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

// VMCreate is the body of POST /v1/vms.
type VMCreate struct {
	Name      string            `json:"name" doc:"Unique in the account" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" example:"web1"`
	Account   string            `json:"account,omitempty" doc:"Account it belongs to; default: the token's, else \"default\"" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	Labels    map[string]string `json:"labels,omitempty" doc:"Your own words on it, at most 64" maxProperties:"64"`
	Protected bool              `json:"protected,omitempty" doc:"It cannot be deleted until this is taken off"`
	Spec      VMSpec            `json:"spec"`
}

// VMUpdate is the body of PUT /v1/vms/{id}: what a user may set of an existing VM.
type VMUpdate struct {
	Name      string            `json:"name,omitempty" doc:"New name, unique in the account; empty keeps it. The domain on the host takes it at its next start" maxLength:"63"`
	Protected bool              `json:"protected,omitempty" doc:"It cannot be deleted until this is taken off"`
	Restart   RestartPolicy     `json:"restart,omitempty" doc:"Default on-failure" enum:"always,on-failure,never"`
	Labels    map[string]string `json:"labels,omitempty" doc:"Replaces all labels" maxProperties:"64"`
}

// The verbs of VMAct.
const (
	ActStart     = "start"
	ActStop      = "stop"
	ActForceStop = "force-stop"
	ActRestart   = "restart"
	ActPause     = "pause"
	ActResume    = "resume"
	ActResize    = "resize"
)

// VMAct is what is to happen to a VM; it gives an operation.
type VMAct struct {
	Verb        string   `json:"verb"`
	StopSeconds int64    `json:"stop_seconds,omitempty"` // stop, restart: patience with the guest; 0: 30 s
	Resize      VMResize `json:"resize,omitzero"`        // resize
}

// VMResize is the body of POST /v1/vms/{id}/resize; what is left out stays.
type VMResize struct {
	Size      string `json:"size,omitempty" doc:"Name of a size; instead of the three amounts" maxLength:"63"`
	VCPUs     int64  `json:"vcpus,omitempty" minimum:"1" maximum:"1024"`
	MemoryMiB int64  `json:"memory_mib,omitempty" minimum:"16" maximum:"67108864"`
	DiskGiB   int64  `json:"disk_gib,omitempty" doc:"Disks only grow" minimum:"1" maximum:"1048576"`
}

// VMStop is the body, if any, of the stop and restart of a VM.
type VMStop struct {
	Timeout string `json:"timeout,omitempty" doc:"How long the guest may take before force is used, as 90s; default 30s, at most 1h" example:"90s"`
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
	VM        string   `json:"vm"`
	Epoch     uint64   `json:"epoch"`
	State     VMState  `json:"state"`
	Reason    string   `json:"reason,omitempty"`
	Steps     []OpStep `json:"steps,omitempty"`     // what the operation in hand took
	Restarted bool     `json:"restarted,omitempty"` // it was started anew
	Failed    bool     `json:"failed,omitempty"`    // the operation in hand cannot be done, though the state is well; Reason says why
	Operation string   `json:"operation,omitempty"` // newest operation that the owner knew of; it says nothing of a newer one. Empty: of whichever is in hand
}

// VMFacts is what an owner has found out about the inside of one of its guests.
// Fields that are empty say nothing.
type VMFacts struct {
	VM       string      `json:"vm"`
	Epoch    uint64      `json:"epoch"`
	HostKeys []HostKey   `json:"host_keys,omitempty"`
	Seen     []VMAddress `json:"seen,omitempty"` // IP, MAC and SeenAt; also of addresses that were not allotted
}

// VMProgress is how far the step in hand of a VM's operation is.
type VMProgress struct {
	VM    string `json:"vm"`
	Epoch uint64 `json:"epoch"`
	Step  string `json:"step"` // "image"
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
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
