package api

import "time"

// DiskSnapshotState is how far a snapshot of a disk is.
type DiskSnapshotState string

// The states of a snapshot of a disk.
const (
	DiskSnapshotCreating  DiskSnapshotState = "creating"
	DiskSnapshotReady     DiskSnapshotState = "ready"
	DiskSnapshotRestoring DiskSnapshotState = "restoring" // the disk goes back to it
	DiskSnapshotDeleting  DiskSnapshotState = "deleting"
	DiskSnapshotFailed    DiskSnapshotState = "failed"
)

// DiskSnapshot is the disk of a VM as it was at one moment, kept inside the disk.
// It goes with the VM.
type DiskSnapshot struct {
	ID        string            `json:"id" format:"uuid"`
	Name      string            `json:"name" doc:"Unique for the VM"`
	VM        string            `json:"vm" doc:"Id of the VM"`
	Account   string            `json:"account"`
	State     DiskSnapshotState `json:"state" enum:"creating,ready,restoring,deleting,failed"`
	Reason    string            `json:"reason,omitempty"`
	Operation string            `json:"operation,omitempty" doc:"Id of the newest operation on it"`
	Version   uint64            `json:"version"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

// DiskSnapshotCreate is the body of POST /v1/vms/{id}/snapshots.
type DiskSnapshotCreate struct {
	Name string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
}

// DiskSnapshotReport is what an owner says of a snapshot that it worked on.
type DiskSnapshotReport struct {
	ID    string `json:"id"`
	VM    string `json:"vm"`
	Epoch uint64 `json:"epoch"`
	Error string `json:"error,omitempty"` // what went wrong; empty: what was asked for is done
	Took  OpStep `json:"took,omitzero"`
}
