package lab

import "testing"

func TestDisksRunFull(t *testing.T) {
	h := Start(t, 1, Sim, SmallDisks(4)).Host(0)
	write := func() error {
		_, err := h.Output("dd", "if=/dev/zero", "of="+h.DataDir()+"/disks/one", "bs=1M", "count=2")
		return err
	}
	if err := write(); err != nil {
		t.Error(err)
	}
	h.Run("rm", h.DataDir()+"/disks/one")
	h.FillDisks()
	if write() == nil {
		t.Error("there is still room on a disk that was filled")
	}
	h.FreeDisks()
	if err := write(); err != nil {
		t.Error(err)
	}
}

func TestPowerOff(t *testing.T) {
	h := Start(t, 1).Host(0)
	bootGuest(t, h)
	h.PowerOff()
	if got := h.Guests(); len(got) != 0 {
		t.Errorf("guests of a host without power: %v", got)
	}
	if _, err := h.Output("virsh", "-q", "-c", "qemu:///system", "list"); err == nil {
		t.Error("libvirtd answers on a host without power")
	}
}
