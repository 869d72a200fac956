package api

import (
	"regexp"
	"strings"
	"time"
)

// The kinds of image.
const (
	ImageDisk   = "disk"   // a disk that VMs start from
	ImageKernel = "kernel" // a kernel with an initial ramdisk and a command line
)

// Where the content of a disk image comes from.
const (
	SourcePath   = "path"   // it lies under the same path on every peer; orchd never copies or checks it
	SourceUpload = "upload" // sent with PUT /v1/images/{id}/content
	SourceURL    = "url"    // fetched once, over https
	SourcePeer   = "peer"   // a file of one peer, copied into its store
	SourceVM     = "vm"     // the disk of a stopped VM, made whole
)

// ImageState says whether an image can be booted.
type ImageState string

// The states of an image. One that lies under a path is available at once.
const (
	ImagePending   ImageState = "pending" // its content is awaited, or on its way
	ImageAvailable ImageState = "available"
	ImageFailed    ImageState = "failed" // Reason says why
)

// Image is what a VM boots. Content that orchd keeps is stored under the image's
// id on each peer that has a copy, checked on arrival, and never changes.
type Image struct {
	ID           string     `json:"id" format:"uuid"`
	Name         string     `json:"name" doc:"Unique"`
	Account      string     `json:"account,omitempty" doc:"It alone may see and use the image; empty: all accounts"`
	Kind         string     `json:"kind" enum:"disk,kernel"`
	Source       string     `json:"source,omitempty" doc:"disk: where its content comes from" enum:"path,upload,url,peer,vm"`
	Path         string     `json:"path,omitempty" doc:"source path and peer: absolute path of the file"`
	URL          string     `json:"url,omitempty" doc:"source url: where it was fetched"`
	VM           string     `json:"vm,omitempty" doc:"source vm: id of the VM"`
	Via          string     `json:"via,omitempty" doc:"Id of the peer that brings the content in"`
	Format       string     `json:"format,omitempty" enum:"qcow2,raw" doc:"disk: its format; never guessed"`
	SHA256       string     `json:"sha256,omitempty" doc:"disk: of the whole file, hexadecimal; wanted while pending, checked after that"`
	Bytes        int64      `json:"bytes,omitempty" doc:"disk: size of the file"`
	VirtualBytes int64      `json:"virtual_bytes,omitempty" doc:"disk: size of the disk in it"`
	Kernel       string     `json:"kernel,omitempty" doc:"kernel: absolute path of the kernel on each peer"`
	Initrd       string     `json:"initrd,omitempty" doc:"kernel: absolute path of the initial ramdisk on each peer"`
	Cmdline      string     `json:"cmdline,omitempty" doc:"kernel: its command line"`
	State        ImageState `json:"state" enum:"pending,available,failed"`
	Reason       string     `json:"reason,omitempty" doc:"Why it failed"`
	Operation    string     `json:"operation,omitempty" doc:"Id of the operation that brings the content in"`
	Version      uint64     `json:"version"`
	CreatedAt    time.Time  `json:"created_at"`
	UpdatedAt    time.Time  `json:"updated_at"`
}

// Kept tells whether orchd keeps the content: only then are there copies.
func (i Image) Kept() bool { return i.Kind == ImageDisk && i.Source != SourcePath && i.Source != "" }

// ImageView is an image and the names of the peers that have a copy of it.
type ImageView struct {
	Image
	Peers []string `json:"peers,omitempty" doc:"Names of the peers that have a whole, checked copy"`
}

// ImageCreate is the body of POST /v1/images. Paths and peers are for admins only.
type ImageCreate struct {
	Name    string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	Account string `json:"account,omitempty" doc:"Default: the token's; an admin's image without one is everybody's" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	Kind    string `json:"kind,omitempty" enum:"disk,kernel" doc:"Default: disk"`
	Source  string `json:"source,omitempty" enum:"path,upload,url,peer" doc:"disk: default path where there is a path, url where there is one, else upload"`
	Path    string `json:"path,omitempty" maxLength:"4096"`
	Peer    string `json:"peer,omitempty" maxLength:"63" doc:"source peer: name of the peer that has the file"`
	URL     string `json:"url,omitempty" maxLength:"2048" doc:"source url: https only"`
	Format  string `json:"format,omitempty" enum:"qcow2,raw" doc:"Default: raw"`
	SHA256  string `json:"sha256,omitempty" pattern:"^[0-9a-f]{64}$" doc:"What the content must have; needed for source url"`
	Kernel  string `json:"kernel,omitempty" maxLength:"4096"`
	Initrd  string `json:"initrd,omitempty" maxLength:"4096"`
	Cmdline string `json:"cmdline,omitempty" maxLength:"2048"`

	// Voucher is looked at by the asked peer and does not enter the log.
	Voucher *Voucher `json:"voucher,omitempty" cbor:"-" doc:"Needed where the setting trust.image_weight is not 0: a signature over sha256"`
}

// ImageContent is what a peer says of the content of an image that it has stored and checked.
type ImageContent struct {
	Image        string `json:"image"`
	SHA256       string `json:"sha256"`
	Bytes        int64  `json:"bytes"`
	VirtualBytes int64  `json:"virtual_bytes"`
	Error        string `json:"error,omitempty"` // it could not be brought in; nothing is stored
	Gone         bool   `json:"gone,omitempty"`  // this peer's copy is no longer there
}

// VMExport is the body of POST /v1/vms/{id}/export: the disk of a stopped VM becomes an image.
type VMExport struct {
	Image string `json:"image" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" doc:"Name of the image to make, in the VM's account"`
}

// cid is a content identifier of IPFS: version 0, base 58, or version 1 in base 32
// (https://docs.ipfs.tech/concepts/content-addressing/).
var cid = regexp.MustCompile(`^(Qm[1-9A-HJ-NP-Za-km-z]{44}|b[a-z2-7]{58,112})$`)

// IPFSContent is the content identifier in a URL ipfs://CID; false when it is no such URL.
func IPFSContent(url string) (string, bool) {
	id, is := strings.CutPrefix(url, "ipfs://")
	return id, is && cid.MatchString(id)
}
