package story

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/test/lab"
)

// TestDebianGuest: Debian with its own kernel and cloud-init. The image is uploaded
// through one peer, the VM made through another on a third: its disk travels there,
// cloud-init takes hostname, address and key, and ssh finds the host key that orchd shows.
func TestDebianGuest(t *testing.T) {
	if missing := lab.Missing(); missing != "" {
		t.Skipf("no lab on this machine; missing: %s (try: sudo make deps)", missing)
	}
	t.Parallel() // it mostly waits for Debian
	disk := guest.Debian(t)
	h := form(t, 3, lab.Bridged)
	h.allVoters()
	h.lan()
	one, two, three := h.Host(0), h.Host(1), h.Host(2)
	keyFile, public := newSSHKey(t)
	for _, account := range []string{"anna", "bob"} {
		if _, err := h.api(one).CreateAccount(t.Context(), api.AccountCreate{Name: account}); err != nil {
			t.Fatal(err)
		}
	}
	h.sshKey(two, "anna", "laptop", public)
	image := h.upload(one, "debian", disk)
	if view, err := h.api(two).ImageView(t.Context(), "debian"); err != nil || !slices.Contains(view.Peers, one.Name) || slices.Contains(view.Peers, three.Name) {
		t.Fatalf("copies after the upload: got %v, %v, want one on %s and none on %s", view.Peers, err, one.Name, three.Name)
	}

	vm, err := h.api(two).CreateVM(t.Context(), api.VMCreate{Name: "web1", Account: "anna", Spec: api.VMSpec{
		VCPUs: 1, MemoryMiB: 512, DiskGiB: 3, Image: "debian", Network: "lan", SSHKeys: []string{"laptop"}, Placement: api.Placement{Peer: three.Name}}})
	if err != nil {
		t.Fatal(err)
	}
	create, shown := vm.Status.Operation, false
	lab.Eventually(t, 3*time.Minute, func() (err error) {
		op, err := h.api(two).Operation(t.Context(), create)
		shown = shown || slices.ContainsFunc(op.Steps, func(s api.OpStep) bool { return s.Name == "image" && s.Total == image.Bytes })
		if err == nil && !op.State.Done() {
			err = fmt.Errorf("the create is %s", op.State)
		}
		return err
	})
	vm = h.becomes(two, "web1", api.VMRunning, patience)
	t.Run("the image has travelled", func(t *testing.T) {
		if !shown {
			t.Error("the operation did not show how far the image is")
		}
		view, err := h.api(two).ImageView(t.Context(), "debian")
		if err != nil || !slices.Contains(view.Peers, three.Name) {
			t.Errorf("copies: got %v, %v, want one on %s too", view.Peers, err, three.Name)
		}
		sum := three.Run("sh", "-c", "cd "+three.DataDir()+"/images && find . -type f -name '*"+image.ID+"*' -exec sha256sum {} +")
		if !strings.HasPrefix(sum, image.SHA256) {
			t.Errorf("the copy's sum is %q, want %s", sum, image.SHA256)
		}
	})
	t.Run("another account sees nothing of it", func(t *testing.T) { h.hidden(t, vm, create) })
	t.Run("ssh with the host key that orchd shows", func(t *testing.T) {
		// The first time any words of ssh's would do: what counts is that it gets in.
		login := func(command string) (string, error) {
			return two.Output("orchd", "vm", "ssh", "anna/web1", "--user", "debian", "--timeout", "1s", "--", "-i", keyFile,
				"-o", "BatchMode=yes", "-o", "ConnectTimeout=5", command)
		}
		lab.Eventually(t, 8*time.Minute, func() error {
			said, err := login("hostname && cat /proc/uptime")
			if err == nil && !strings.HasPrefix(said, "web1\n") {
				err = lab.Hopeless("the guest calls itself %q", said)
			}
			if err == nil {
				t.Logf("reached by ssh; the guest says: %s", said)
			}
			return err
		})
		said, err := login("ip -4 -o address show scope global")
		if err != nil || !strings.Contains(said, " "+address(t, vm)+"/16 ") {
			t.Errorf("addresses in the guest: got %q, %v, want %s", said, err, address(t, vm))
		}
		h.hostKeys(t, two)
	})
}

// hostKeys compares the keys that orchd gathered with those that the guest offers.
func (h *house) hostKeys(t *testing.T, at *lab.Host) {
	t.Helper()
	vm, err := h.vm(at, "web1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("ssh-keyscan"); err != nil {
		t.Fatal("ssh-keyscan is missing; install it with: sudo make deps")
	}
	offered := at.Run("ssh-keyscan", "-t", "ed25519,ecdsa", address(t, vm))
	if len(vm.Status.SSHHostKeys) == 0 {
		t.Error("orchd has no host keys")
	}
	for _, k := range vm.Status.SSHHostKeys {
		if !strings.Contains(offered, k.Type+" "+k.Key) {
			t.Errorf("orchd shows %s %s, which the guest does not offer:\n%s", k.Type, k.Fingerprint, offered)
		}
	}
	known := string(h.do(at, http.StatusOK, "GET", "/v1/vms/web1/known_hosts", nil).Body)
	if want := fmt.Sprintf("%s %s %s\n", address(t, vm), vm.Status.SSHHostKeys[0].Type, vm.Status.SSHHostKeys[0].Key); !strings.Contains(known, want) {
		t.Errorf("known_hosts: got %q, want the line %q in it", known, want)
	}
}

// hidden asks as another account, by name and by id, for all that there is of a VM:
// each answer is a 404, and no list and no event tells of it.
func (h *house) hidden(t *testing.T, vm api.VM, operation string) {
	t.Helper()
	bob := h.as("bob")
	at := h.Host(1)
	for _, ref := range []string{vm.ID, vm.Name} {
		for _, below := range []string{"", "/console", "/console-log", "/screenshot", "/why", "/known_hosts", "/snapshots", "/snapshots/none"} {
			bob.do(at, http.StatusNotFound, "GET", "/v1/vms/"+ref+below, nil)
		}
		for _, verb := range []string{"start", "stop", "force-stop", "restart", "pause", "resume", "snapshots", "export"} {
			body := map[string]string{"snapshots": `{"name":"x"}`, "export": `{"image":"x"}`}[verb]
			bob.do(at, http.StatusNotFound, "POST", "/v1/vms/"+ref+"/"+verb, body, "Content-Type: application/json")
		}
	}
	image, err := h.api(at).CreateImage(t.Context(), api.ImageCreate{Name: "hers", Account: "anna", Source: api.SourceUpload})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{image.ID, image.Name} {
		bob.do(at, http.StatusNotFound, "GET", "/v1/images/"+ref, nil)
		bob.do(at, http.StatusNotFound, "GET", "/v1/images/"+ref+"/content", nil)
		bob.do(at, http.StatusNotFound, "DELETE", "/v1/images/"+ref, nil)
	}
	bob.do(at, http.StatusNotFound, "DELETE", "/v1/vms/"+vm.ID, nil)
	bob.do(at, http.StatusNotFound, "GET", "/v1/operations/"+operation, nil)
	bob.do(at, http.StatusNotFound, "DELETE", "/v1/operations/"+operation, nil)
	bob.do(at, http.StatusNotFound, "GET", "/v1/ssh-keys/laptop?account=anna", nil)
	bob.do(at, http.StatusNotFound, "GET", "/v1/accounts/anna", nil)
	for _, list := range []string{"/v1/vms", "/v1/operations", "/v1/ssh-keys", "/v1/images", "/v1/events?since=0&follow=false"} {
		if a := bob.do(at, http.StatusOK, "GET", list, nil); strings.Contains(string(a.Body), vm.ID) || strings.Contains(string(a.Body), "anna") {
			t.Errorf("%s shows bob what is anna's: %s", list, a.Body)
		}
	}
}
