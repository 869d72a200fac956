package fsm

import (
	"net/url"
	"path"
	"strings"
	"unicode"

	"github.com/orchd/orchd/api"
)

// This file is what an image may say of itself.

// withDefaults fills in what was left out.
func withDefaults(c api.ImageCreate) api.ImageCreate {
	if c.Kind == "" {
		c.Kind = api.ImageDisk
	}
	if c.Kind != api.ImageDisk {
		return c
	}
	if c.Format == "" {
		c.Format = "raw"
	}
	switch {
	case c.Source != "":
	case c.Path != "":
		c.Source = api.SourcePath
	case c.URL != "":
		c.Source = api.SourceURL
	default:
		c.Source = api.SourceUpload
	}
	return c
}

// namesHosts tells whether an image is made of files that lie on hosts.
func namesHosts(c api.ImageCreate) bool {
	return c.Kind == api.ImageKernel || c.Source == api.SourcePath || c.Source == api.SourcePeer
}

// imageFields are those that depend on the kind and the source, by pointer, with
// where each belongs: a kind, or a source of kind disk.
var imageFields = []struct {
	pointer string
	value   func(*imageCreate) string
	of      []string
}{
	{"/path", func(c *imageCreate) string { return c.Path }, []string{api.SourcePath, api.SourcePeer}},
	{"/peer", func(c *imageCreate) string { return c.Peer }, []string{api.SourcePeer}},
	{"/url", func(c *imageCreate) string { return c.URL }, []string{api.SourceURL}},
	{"/sha256", func(c *imageCreate) string { return c.SHA256 }, []string{api.SourceURL, api.SourceUpload, api.SourcePeer}},
	{"/format", func(c *imageCreate) string { return c.Format }, []string{api.ImageDisk}},
	{"/kernel", func(c *imageCreate) string { return c.Kernel }, []string{api.ImageKernel}},
	{"/initrd", func(c *imageCreate) string { return c.Initrd }, []string{api.ImageKernel}},
	{"/cmdline", func(c *imageCreate) string { return c.Cmdline }, []string{api.ImageKernel}},
}

// imageFaults names the fields that can never succeed as written.
func imageFaults(r Reader, c imageCreate) (faults []api.FieldError) {
	wrong := func(bad bool, pointer, detail string) {
		if bad {
			faults = append(faults, api.FieldError{Pointer: pointer, Detail: detail})
		}
	}
	wrong(!api.ValidName(c.Name), "/name", "must be 1 to 63 of a-z, 0-9 and -, and no UUID")
	if c.Kind != api.ImageDisk && c.Kind != api.ImageKernel {
		return append(faults, api.FieldError{Pointer: "/kind", Detail: "must be disk or kernel"})
	}
	for _, f := range imageFields {
		wrong(f.value(&c) != "" && !c.isOneOf(f.of), f.pointer, "goes with "+strings.Join(f.of, " or ")+" only")
	}
	wrong(c.Kind == api.ImageKernel && c.Source != "", "/source", "only an image of kind disk has one")
	wrong(c.Kind == api.ImageKernel && !cleanPath(c.Kernel), "/kernel", "must be a clean absolute path")
	wrong(c.Kind == api.ImageKernel && c.Initrd != "" && !cleanPath(c.Initrd), "/initrd", "must be a clean absolute path")
	wrong(strings.ContainsFunc(c.Cmdline, unicode.IsControl), "/cmdline", "must be one line")
	if c.Kind == api.ImageDisk {
		faults = append(faults, diskFaults(r, c)...)
	}
	return faults
}

// isOneOf tells whether the image is of one of those kinds or sources.
func (c *imageCreate) isOneOf(words []string) bool {
	for _, w := range words {
		if w == c.Kind || w == c.Source {
			return true
		}
	}
	return false
}

// diskFaults are those of an image of kind disk.
func diskFaults(r Reader, c imageCreate) (faults []api.FieldError) {
	wrong := func(bad bool, pointer, detail string) {
		if bad {
			faults = append(faults, api.FieldError{Pointer: pointer, Detail: detail})
		}
	}
	wrong(c.Format != "raw" && c.Format != "qcow2", "/format", "must be raw or qcow2")
	wrong(c.SHA256 != "" && !isSHA256(c.SHA256), "/sha256", "must be 64 hexadecimal digits in lower case")
	switch c.Source {
	case api.SourcePath, api.SourcePeer:
		wrong(!cleanPath(c.Path), "/path", "must be a clean absolute path")
	case api.SourceURL:
		_, content := api.IPFSContent(c.URL)
		wrong(!content && !strings.HasPrefix(c.URL, "https://") || strings.ContainsFunc(c.URL, unicode.IsControl), "/url", "must begin with https://, or be ipfs://CID")
		wrong(c.SHA256 == "", "/sha256", "is needed with a URL: it says what must be found there")
	case api.SourceUpload:
	default:
		wrong(true, "/source", "must be path, upload, url or peer")
		return faults
	}
	if c.Source == api.SourcePath {
		return faults
	}
	_, known := r.Peer(c.broughtBy())
	wrong(!known && c.Source == api.SourcePeer, "/peer", "no such peer")
	wrong(!known && c.Source != api.SourcePeer, "", "the peer that was to bring the content in belongs to the cluster no more; ask another")
	return faults
}

func cleanPath(p string) bool { return path.IsAbs(p) && path.Clean(p) == p }

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// urlFault refuses a URL that is none, or that holds a password. The Writer asks:
// what a URL is may change with the library that reads it.
func urlFault(text string) error {
	if _, content := api.IPFSContent(text); text == "" || content {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return fault("/url", "must be a URL that begins with https://, or ipfs://CID")
	case u.User != nil:
		return fault("/url", "must hold no user or password: everybody who may see the image would see them")
	case u.Fragment != "":
		return fault("/url", "must have no part behind a #")
	}
	return nil
}
