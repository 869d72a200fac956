package libvirt

import (
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/orchd/orchd/vmm/vmmtest"
)

// The one conformance test, on libvirt's own pretended hypervisor and on QEMU.
func TestConformance(t *testing.T) {
	d := startDaemon(t)
	t.Run("test driver", func(t *testing.T) {
		// libvirtd forgets the pretended host with its last connection.
		keep := d.driver(t, string(golibvirt.TestDefault))
		_, err := keep.List(t.Context())
		check(t, err)
		vmmtest.Core(t, func(t *testing.T) vmmtest.Host { return d.host(t, string(golibvirt.TestDefault)) })
	})
	qemu := func(t *testing.T) vmmtest.Host { return d.host(t, string(golibvirt.QEMUSystem)) }
	t.Run("qemu", func(t *testing.T) { vmmtest.Core(t, qemu) })
	t.Run("qemu guests", func(t *testing.T) {
		vmmtest.Guests(t, func(t *testing.T) vmmtest.Host {
			h := qemu(t)
			h.Image = d.kernel()
			return h
		})
	})
}
