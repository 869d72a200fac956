package api

import "math"

// Resources is an amount of what a host has and a VM takes.
type Resources struct {
	VCPUs     int64 `json:"vcpus" doc:"Virtual CPUs" minimum:"0"`
	MemoryMiB int64 `json:"memory_mib" doc:"Memory in MiB" minimum:"0"`
	DiskGiB   int64 `json:"disk_gib" doc:"Disk in GiB" minimum:"0"`
}

// Plus is the sum.
func (r Resources) Plus(o Resources) Resources {
	return Resources{r.VCPUs + o.VCPUs, r.MemoryMiB + o.MemoryMiB, r.DiskGiB + o.DiskGiB}
}

// Minus is the difference; it may be negative on a host that shrank.
func (r Resources) Minus(o Resources) Resources {
	return Resources{r.VCPUs - o.VCPUs, r.MemoryMiB - o.MemoryMiB, r.DiskGiB - o.DiskGiB}
}

// Within tells whether r fits into room, in every dimension.
func (r Resources) Within(room Resources) bool {
	return r.VCPUs <= room.VCPUs && r.MemoryMiB <= room.MemoryMiB && r.DiskGiB <= room.DiskGiB
}

// Ratios says how much of a host may be promised, in whole percent of what it
// has: 100 promises what is there, 200 twice that. Zero means 100.
type Ratios struct {
	VCPUs  int64 `json:"vcpus_percent,omitempty" doc:"vCPUs that may be promised, percent of the host's" minimum:"1" maximum:"10000"`
	Memory int64 `json:"memory_percent,omitempty" doc:"Memory that may be promised, percent of the host's" minimum:"1" maximum:"10000"`
	Disk   int64 `json:"disk_percent,omitempty" doc:"Disk that may be promised, percent of the host's" minimum:"1" maximum:"10000"`
}

// Of is what may be promised of r.
func (p Ratios) Of(r Resources) Resources {
	return Resources{percent(r.VCPUs, p.VCPUs), percent(r.MemoryMiB, p.Memory), percent(r.DiskGiB, p.Disk)}
}

// percent is n x p / 100 without overflow; p = 0 means 100.
func percent(n, p int64) int64 {
	if p == 0 {
		return n
	}
	if n > math.MaxInt64/p {
		return math.MaxInt64
	}
	return n * p / 100
}
