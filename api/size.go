package api

import "time"

// Size is a named amount of resources. VMs keep the amounts that they were made
// with: a size may be deprecated, and deleted, without changing any.
type Size struct {
	ID         string    `json:"id" format:"uuid"`
	Name       string    `json:"name"`
	VCPUs      int64     `json:"vcpus"`
	MemoryMiB  int64     `json:"memory_mib"`
	DiskGiB    int64     `json:"disk_gib"`
	Deprecated bool      `json:"deprecated,omitempty" doc:"No new VM may have it"`
	Version    uint64    `json:"version"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
}

// SizeCreate is the body of POST /v1/sizes.
type SizeCreate struct {
	Name      string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" example:"f1-s"`
	VCPUs     int64  `json:"vcpus" minimum:"1" maximum:"1024"`
	MemoryMiB int64  `json:"memory_mib" minimum:"16" maximum:"67108864"`
	DiskGiB   int64  `json:"disk_gib" minimum:"0" maximum:"1048576"`
}

// SizeUpdate is the body of PATCH /v1/sizes/{name}: the amounts of a size never change.
type SizeUpdate struct {
	Deprecated bool `json:"deprecated" doc:"No new VM may have it"`
}
