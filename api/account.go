package api

import "time"

// Quota is what an account may hold at most; 0 means no limit. Stopped VMs count.
type Quota struct {
	VMs       int64 `json:"vms,omitempty" minimum:"0"`
	VCPUs     int64 `json:"vcpus,omitempty" minimum:"0"`
	MemoryMiB int64 `json:"memory_mib,omitempty" minimum:"0"`
	DiskGiB   int64 `json:"disk_gib,omitempty" minimum:"0"`
	Addresses int64 `json:"addresses,omitempty" minimum:"0"`
}

// Account owns virtual machines, SSH keys and images.
type Account struct {
	Name      string    `json:"name"`
	Quota     Quota     `json:"quota,omitzero"`
	Suspended bool      `json:"suspended,omitempty" doc:"Its VMs are kept off and nothing new is made"`
	Reason    string    `json:"reason,omitempty" doc:"Why it is suspended"`
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// AccountView is an account and what it holds now.
type AccountView struct {
	Account
	Used Quota `json:"used" doc:"What it holds now"`
}

// AccountCreate is the body of POST /v1/accounts.
type AccountCreate struct {
	Name  string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" example:"co-op"`
	Quota Quota  `json:"quota,omitzero" doc:"At most; 0 or left out: no limit"`
}

// AccountUpdate is the body of PUT /v1/accounts/{name}; PATCH takes a part of it.
type AccountUpdate struct {
	Quota     Quota  `json:"quota,omitzero" doc:"At most; 0 or left out: no limit"`
	Suspended bool   `json:"suspended,omitempty" doc:"Stop its VMs and let it make nothing new; false lets them go on as they were wanted"`
	Reason    string `json:"reason,omitempty" doc:"Why it is suspended; its users see it" maxLength:"500"`
}

// DefaultAccount is where a VM goes when nobody says otherwise.
const DefaultAccount = "default"

// Usage is what an account has had for how long within one calendar month (UTC),
// counted in the log's own time while the reservation stood, running or not.
type Usage struct {
	Account          string    `json:"account"`
	Month            string    `json:"month" doc:"As 2026-11"`
	VMSeconds        int64     `json:"vm_seconds"`
	VCPUSeconds      int64     `json:"vcpu_seconds"`
	MemoryMiBSeconds int64     `json:"memory_mib_seconds"`
	DiskGiBSeconds   int64     `json:"disk_gib_seconds"`
	AddressSeconds   int64     `json:"address_seconds"`
	CountedUntil     time.Time `json:"counted_until"`
}
