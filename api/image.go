package api

import "time"

// The kinds of image.
const (
	ImageDisk   = "disk"   // a disk image at a path on the peers
	ImageKernel = "kernel" // a kernel, an initial ramdisk and a command line
)

// Image is what a VM boots. Only an admin makes one, for its paths name files on the peers.
type Image struct {
	ID        string    `json:"id" format:"uuid"`
	Name      string    `json:"name"`
	Kind      string    `json:"kind" enum:"disk,kernel"`
	Path      string    `json:"path,omitempty" doc:"disk: absolute path of the image file on each peer"`
	Format    string    `json:"format,omitempty" enum:"qcow2,raw" doc:"disk: its format; never guessed"`
	Kernel    string    `json:"kernel,omitempty" doc:"kernel: absolute path of the kernel on each peer"`
	Initrd    string    `json:"initrd,omitempty" doc:"kernel: absolute path of the initial ramdisk on each peer"`
	Cmdline   string    `json:"cmdline,omitempty" doc:"kernel: its command line"`
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// ImageCreate is the body of POST /v1/images.
type ImageCreate struct {
	Name    string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	Kind    string `json:"kind" enum:"disk,kernel"`
	Path    string `json:"path,omitempty" maxLength:"4096"`
	Format  string `json:"format,omitempty" enum:"qcow2,raw" doc:"Default: raw"`
	Kernel  string `json:"kernel,omitempty" maxLength:"4096"`
	Initrd  string `json:"initrd,omitempty" maxLength:"4096"`
	Cmdline string `json:"cmdline,omitempty" maxLength:"2048"`
}
