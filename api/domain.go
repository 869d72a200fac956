package api

// ForeignDomain is a domain on a peer's hypervisor that is not one of this cluster's VMs.
type ForeignDomain struct {
	Peer      string   `json:"peer"`
	UUID      string   `json:"uuid"`
	Name      string   `json:"name"`
	State     VMState  `json:"state" enum:"running,stopped,paused,crashed"`
	VCPUs     int64    `json:"vcpus"`
	MemoryMiB int64    `json:"memory_mib"`
	DiskGiB   int64    `json:"disk_gib" doc:"Of all its disks, rounded up"`
	MACs      []string `json:"macs,omitempty"`
	Disks     []string `json:"disks,omitempty" doc:"Paths of its disks"`
	Cluster   string   `json:"cluster,omitempty" doc:"Id of the cluster whose mark it carries, when that is another one's"`
	Record    *VM      `json:"record,omitempty" doc:"The VM that its mark says it is, when it carries one of a cluster that is lost"`
	Flags     []string `json:"flags,omitempty" doc:"What orchd could not manage of it: disk-not-in-pool, no-cloud-init"`
}

// VMAdopt is the body of POST /v1/vms/adopt: a running domain becomes a VM without a restart.
type VMAdopt struct {
	Peer    string            `json:"peer" doc:"Name of the peer that has the domain"`
	Domain  string            `json:"domain" doc:"Name or UUID of the domain"`
	Name    string            `json:"name,omitempty" doc:"Name of the VM; default: the domain's, made to fit" maxLength:"63"`
	Account string            `json:"account,omitempty" maxLength:"63"`
	Labels  map[string]string `json:"labels,omitempty" maxProperties:"64"`
	Recover bool              `json:"recover,omitempty" doc:"Take the VM's record out of the domain's own mark: after a total loss of the cluster's state"`
}

// PeerLost is the body of POST /v1/peers/{name}/lost.
type PeerLost struct {
	Name   string `json:"name" doc:"The peer's name once more: you state that this host is off for good and will never come back"`
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"For the record"`
}

// Finding is one thing in which hosts and records disagree, and what mends it.
type Finding struct {
	Code   string `json:"code" doc:"A stable word: domain-without-record, record-without-domain, wrong-epoch, second-domain, image-without-copy, copy-without-image, address-not-allotted, file-without-record, host-silent"`
	Peer   string `json:"peer,omitempty"`
	VM     string `json:"vm,omitempty" doc:"Id"`
	Name   string `json:"name,omitempty" doc:"Name of what it is about"`
	Detail string `json:"detail" doc:"What disagrees"`
	Action string `json:"action" doc:"The command that mends it"`
}
