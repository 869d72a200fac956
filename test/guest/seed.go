package guest

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/orchd/orchd/vmm/cloudinit"
)

// Seed writes a NoCloud image that gives a guest a hostname, an address and its
// gateway, and gives the image's path. A zero gateway is left out.
func Seed(t testing.TB, hostname, mac string, address netip.Prefix, gateway netip.Addr, keys ...string) string {
	t.Helper()
	docs, err := cloudinit.Documents(cloudinit.Guest{
		InstanceID: hostname, Hostname: hostname, Keys: keys, MAC: mac,
		Addresses: []cloudinit.Address{{IP: address.Addr(), Prefix: address.Bits(), Gateway: gateway}},
	})
	if err != nil {
		t.Fatal(err)
	}
	iso, err := cloudinit.ISO(docs)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(publicDir(t), hostname+".seed.iso")
	if err := os.WriteFile(path, iso, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// publicDir is a folder of the test that libvirt's own user can enter.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "orchd-guest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
