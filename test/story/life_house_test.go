package story

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/test/lab"
)

// bootTime is how long a small guest may take until it answers, on a machine that
// has other things to do.
const bootTime = 2 * time.Minute

// homes makes a cluster for guests that live a life: with the network lan that they
// are on, and the image tiny. Its hosts pretend to have room.
func homes(t *testing.T, n int, options ...lab.Option) *house {
	t.Helper()
	g := guest.Make(t)
	room := lab.With("vmm.capacity.vcpus = 32", `vmm.capacity.memory = "32GiB"`, `vmm.capacity.disk = "200GiB"`)
	h := form(t, n, append([]lab.Option{lab.Bridged, room}, options...)...)
	h.allVoters()
	h.tiny(g)
	h.lan()
	return h
}

// tiny declares the small guest as an image.
func (h *house) tiny(g guest.Guest) {
	h.t.Helper()
	_, err := h.api(h.Host(0)).CreateImage(h.t.Context(), api.ImageCreate{Name: "tiny", Kind: api.ImageKernel, Kernel: g.Kernel, Initrd: g.Initrd, Cmdline: "console=ttyS0"})
	if err != nil {
		h.t.Fatal(err)
	}
}

// lan declares the network of the lab's bridges.
func (h *house) lan() {
	h.t.Helper()
	_, err := h.api(h.Host(0)).CreateNetwork(h.t.Context(), api.NetworkCreate{Name: "lan", NetworkShape: api.NetworkShape{
		CIDR: lab.GuestNet, Gateway: lab.GuestGateway, First: lab.GuestFirst, Last: lab.GuestLast, Bridge: lab.GuestBridge}})
	if err != nil {
		h.t.Fatal(err)
	}
}

// api is an admin's client of one host's peer, and of no other.
func (h *house) api(at *lab.Host) *api.Client {
	h.t.Helper()
	c, err := api.NewClient(api.ClientConfig{Addrs: []string{"unix://" + filepath.Join(at.DataDir(), "orchd.sock")}, Timeout: time.Minute})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// as is the house as a user of an account finds it.
func (h *house) as(account string) *house {
	h.t.Helper()
	token, err := h.api(h.Host(0)).CreateToken(h.t.Context(), api.TokenCreate{Role: api.RoleOperator, Account: account, TTL: "24h"})
	if err != nil {
		h.t.Fatal(err)
	}
	return &house{Lab: h.Lab, t: h.t, token: token.Token, clients: map[*lab.Host]*http.Client{}}
}

// upload makes an image of a file through one peer.
func (h *house) upload(at *lab.Host, name, file string) api.Image {
	h.t.Helper()
	c := h.api(at)
	image, err := c.CreateImage(h.t.Context(), api.ImageCreate{Name: name, Source: api.SourceUpload, Format: "qcow2"})
	if err != nil {
		h.t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := c.Upload(h.t.Context(), api.ImageContentPath(image.ID), f, info.Size(), nil); err != nil {
		h.t.Fatalf("upload %s: %v", name, err)
	}
	return h.available(at, name)
}

// available waits until an image can be booted.
func (h *house) available(at *lab.Host, name string) (image api.Image) {
	h.t.Helper()
	lab.Eventually(h.t, 2*time.Minute, func() (err error) {
		if image, err = h.api(at).Image(h.t.Context(), name); err == nil && image.State != api.ImageAvailable {
			err = fmt.Errorf("image %s is %s: %s", name, image.State, image.Reason)
			if image.State == api.ImageFailed {
				err = lab.Hopeless("%v", err)
			}
		}
		return err
	})
	return image
}

// small asks for a VM with the small guest, on the network, with a blank disk of 1 GiB.
func small(name string, memoryMiB int64) api.VMCreate {
	c := ask.VM(name, 1, memoryMiB)
	c.Spec.Image, c.Spec.Network, c.Spec.DiskGiB = "tiny", "lan", 1
	return c
}

// make makes a VM and waits until it runs.
func (h *house) make(at *lab.Host, c api.VMCreate) api.VM {
	h.t.Helper()
	if _, err := h.api(at).CreateVM(h.t.Context(), c); err != nil {
		h.t.Fatalf("create %s: %v", c.Name, err)
	}
	return h.becomes(at, c.Name, api.VMRunning, bootTime)
}

// act does something to a VM and waits until it is done.
func (h *house) act(at *lab.Host, name string, act api.VMAct) api.Operation {
	h.t.Helper()
	op, err := h.api(at).ActOnVM(h.t.Context(), name, act)
	if err != nil {
		h.t.Fatalf("%s %s: %v", act.Verb, name, err)
	}
	return h.succeeds(at, op)
}

// succeeds waits for the end of an operation.
func (h *house) succeeds(at *lab.Host, op api.Operation) api.Operation {
	h.t.Helper()
	lab.Eventually(h.t, 2*time.Minute, func() (err error) {
		op, err = h.api(at).Operation(h.t.Context(), op.ID)
		switch {
		case err != nil:
			return err
		case !op.State.Done():
			return fmt.Errorf("%s of %s is %s", op.Kind, op.Target.Name, op.State)
		case op.State != api.OpSucceeded:
			return lab.Hopeless("%s of %s has %s: %s", op.Kind, op.Target.Name, op.State, op.Error)
		}
		return nil
	})
	return op
}

// delete deletes a VM and waits until it is gone.
func (h *house) delete(at *lab.Host, name string) {
	h.t.Helper()
	op, err := h.api(at).DeleteVM(h.t.Context(), name)
	if err != nil {
		h.t.Fatalf("delete %s: %v", name, err)
	}
	h.succeeds(at, op)
}

// console talks to the small guest of a VM through a peer, as soon as it answers.
func (h *house) console(at *lab.Host, name string) *guest.Shell {
	h.t.Helper()
	conn, err := h.api(at).VMConsole(h.t.Context(), name)
	if err != nil {
		h.t.Fatalf("console of %s: %v", name, err)
	}
	h.t.Cleanup(func() { conn.Close() })
	s := guest.Talk(conn)
	if err := s.AwaitReady(bootTime); err != nil {
		h.t.Fatalf("console of %s: %v", name, err)
	}
	return s
}

// said is what the console of a VM has said.
func (h *house) said(at *lab.Host, name string) string {
	h.t.Helper()
	log, err := h.api(at).ConsoleLog(h.t.Context(), name, 1<<20)
	if err != nil {
		h.t.Fatalf("console log of %s: %v", name, err)
	}
	return string(log)
}

// answers asks the guest and compares.
func answers(t *testing.T, s *guest.Shell, command, want string) {
	t.Helper()
	if got, err := s.Ask(command); err != nil || got != want {
		t.Errorf("the guest's answer to %q: got %q, %v, want %q", command, got, err, want)
	}
}

// passes waits until that much time has passed since it was called.
func passes(t *testing.T, d time.Duration) {
	t.Helper()
	start := time.Now()
	lab.Eventually(t, d+time.Minute, func() error {
		if since := time.Since(start); since < d {
			return fmt.Errorf("%s of %s have passed", since, d)
		}
		return nil
	})
}

// address is the one IPv4 address that a VM holds.
func address(t *testing.T, vm api.VM) string {
	t.Helper()
	i := slices.IndexFunc(vm.Status.Addresses, func(a api.VMAddress) bool { return !strings.Contains(a.IP, ":") })
	if i < 0 {
		t.Fatalf("%s holds no IPv4 address: %v", vm.Name, vm.Status.Addresses)
	}
	return vm.Status.Addresses[i].IP
}

// newSSHKey makes a key pair: the private one as a file for ssh, and the public line.
func newSSHKey(t *testing.T) (file, public string) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "story")
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "id_ed25519")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line)))
}

// sshKey stores a public key for an account.
func (h *house) sshKey(at *lab.Host, account, name, public string) {
	h.t.Helper()
	if _, err := h.api(at).CreateSSHKey(h.t.Context(), api.SSHKeyCreate{Name: name, Account: account, PublicKey: public}); err != nil {
		h.t.Fatal(err)
	}
}

// domState is what a host's libvirt says of a VM's domain.
func domState(host *lab.Host, vm api.VM) string {
	return strings.TrimSpace(host.Virsh("domstate", vm.ID))
}
