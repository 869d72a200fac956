package onehost

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// TestAddressesAreHeldOnce: clients create and delete through all three peers at once
// in a network that has fewer addresses than they want. No address is ever held
// twice, a refusal says that there is none, and at the end all are free again.
func TestAddressesAreHeldOnce(t *testing.T) {
	const clients, rounds, free = 12, 8, 5
	c := Start(t, 3, nil)
	one := c.Peers[0]
	if _, err := one.Client().CreateNetwork(t.Context(), api.NetworkCreate{Name: "narrow", NetworkShape: api.NetworkShape{
		CIDR: "10.9.0.0/24", Gateway: "10.9.0.1", First: "10.9.0.1", Last: fmt.Sprintf("10.9.0.%d", free+1), Bridge: "br0"}}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	given, refused := map[string]bool{}, 0
	for i := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for round := range rounds {
				client := c.Peers[random.IntN(3)].Client()
				want := ask.VM(fmt.Sprintf("vm-%d-%d", i, round), 1, 16)
				want.Spec.Network = "narrow"
				vm, err := client.CreateVM(t.Context(), want)
				if api.IsKind(err, api.NoCapacity) {
					mu.Lock()
					refused++
					mu.Unlock()
					continue
				}
				if err != nil {
					t.Errorf("create %s: %v", want.Name, err)
					return
				}
				mu.Lock()
				given[vm.Status.Addresses[0].IP] = true
				mu.Unlock()
				if _, err := client.DeleteVM(t.Context(), vm.ID, api.WithWait(20*time.Second)); err != nil {
					t.Errorf("delete %s: %v", want.Name, err)
				}
			}
		})
	}
	watch := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { oneHolderEach(t, c, watch) })
	all.Wait()
	close(watch)
	watcher.Wait()
	if len(given) != free || given["10.9.0.1"] || refused == 0 {
		t.Errorf("%d addresses were given, %d are free, %d creates were refused: %v", len(given), free, refused, given)
	}
	lab.Eventually(t, 20*time.Second, func() error {
		for lease, err := range one.Client().Leases(t.Context()) {
			return fmt.Errorf("a lease is left: %+v, %v", lease, err)
		}
		return nil
	})
}

// oneHolderEach looks, until done is closed, whether two VMs of one reading hold one
// address, or one interface.
func oneHolderEach(t *testing.T, c *Cluster, done <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		holder := map[string]string{}
		for vm, err := range c.Peers[i%3].Client().VMs(t.Context(), api.VMFilter{}) {
			if err != nil {
				t.Error(err)
				return
			}
			for _, a := range vm.Status.Addresses {
				for _, held := range []string{a.IP, a.MAC} {
					if other := holder[held]; other != "" {
						t.Errorf("%s is held by %s and by %s", held, other, vm.Name)
					}
					holder[held] = vm.Name
				}
			}
		}
	}
}

// TestQuotaUnderManyClients: an account may have three VMs, and twenty clients ask at
// three peers at the same instant.
func TestQuotaUnderManyClients(t *testing.T) {
	c := Start(t, 3, nil)
	admin := c.Peers[0].Client()
	if _, err := admin.CreateAccount(t.Context(), api.AccountCreate{Name: "co-op", Quota: api.Quota{VMs: 3, MemoryMiB: 1000}}); err != nil {
		t.Fatal(err)
	}
	token, err := admin.CreateToken(t.Context(), api.TokenCreate{Role: api.RoleOperator, Account: "co-op"})
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 20)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			_, errs[i] = c.Peers[i%3].TCP(token.Token).CreateVM(t.Context(), ask.VM(fmt.Sprintf("vm-%d", i), 1, 64))
		})
	}
	all.Wait()
	made := 0
	for i, err := range errs {
		if err == nil {
			made++
		} else if !strings.Contains(err.Error(), "quota") && !strings.Contains(err.Error(), "at most 3") {
			t.Errorf("create %d was refused without a word on the quota: %v", i, err)
		}
	}
	for _, p := range c.Peers {
		view, err := p.Client().Account(t.Context(), "co-op")
		if err != nil || made != 3 || view.Used.VMs != 3 || view.Used.MemoryMiB != 3*64 {
			t.Errorf("%s: %d were made, the account holds %+v, %v", p.Name, made, view.Used, err)
		}
	}
}

// TestImageTravels: an image is uploaded through one peer, fetched by the owner of the
// first VM that needs it, refused when it is not what it should be, and gone from
// all hosts when it is deleted.
func TestImageTravels(t *testing.T) {
	c := Start(t, 3, nil)
	client := c.Peers[1].Client()
	content := bytes.Repeat([]byte("a disk of one MiB."), 1<<20/18+1)[:1<<20]
	sum := sha256.Sum256(content)
	image, err := client.CreateImage(t.Context(), api.ImageCreate{Name: "raw", Source: api.SourceUpload, Format: "raw", SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		t.Fatal(err)
	}
	want := ask.VM("early", 1, 16)
	want.Spec.Image = "raw"
	if _, err := client.CreateVM(t.Context(), want); !api.IsKind(err, api.Conflict) {
		t.Errorf("a VM of an image that has no content: got %v, want a conflict", err)
	}
	other := slices.Clone(content)
	other[7] = '!'
	if a, err := client.Upload(t.Context(), api.ImageContentPath("raw"), bytes.NewReader(other), int64(len(other)), nil); err == nil {
		t.Errorf("content with another sum was taken: %s", a.Body)
	}
	if _, err := client.Upload(t.Context(), api.ImageContentPath("raw"), bytes.NewReader(content), int64(len(content)), nil); err != nil {
		t.Fatal(err)
	}
	want = ask.VM("one", 1, 16)
	want.Spec.Image, want.Spec.Placement.Peer = "raw", "h3"
	vm, err := client.CreateVM(t.Context(), want, api.WithWait(20*time.Second))
	if err != nil || vm.Status.State != api.VMRunning {
		t.Fatalf("the VM is %s (%s), %v", vm.Status.State, vm.Status.Reason, told(err))
	}
	lab.Eventually(t, 10*time.Second, func() error {
		view, err := client.ImageView(t.Context(), "raw")
		if err == nil && !slices.Equal(view.Peers, []string{"h2", "h3"}) {
			err = fmt.Errorf("copies are on %v, want h2 and h3", view.Peers)
		}
		return err
	})
	for _, p := range c.Peers { // also through the one that has none
		if a := p.Do("GET", "/v1/images/raw/content", nil); a.Status != http.StatusOK || !bytes.Equal(a.Body, content) {
			t.Errorf("%s gives other content: %d, %d bytes", p.Name, a.Status, len(a.Body))
		}
	}
	if err := client.DeleteImage(t.Context(), "raw"); !api.IsKind(err, api.Conflict) {
		t.Errorf("deleting an image that a VM stands on: got %v, want a conflict", err)
	}
	if _, err := client.DeleteVM(t.Context(), "one", api.WithWait(20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := client.DeleteImage(t.Context(), "raw"); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 20*time.Second, func() error {
		for _, p := range c.Peers {
			left, err := filepath.Glob(filepath.Join(p.Config.DataDir, "images", "*"+image.ID+"*"))
			if err != nil || len(left) > 0 {
				return fmt.Errorf("%s still has %v, %v", p.Name, left, err)
			}
		}
		return nil
	})
}

// TestCreateOutlivesLeaderAndOwner: a create is in hand while its owner is stopped and
// started again, and while the leader changes. Its operation ends well, once.
func TestCreateOutlivesLeaderAndOwner(t *testing.T) {
	c := Start(t, 3, nil)
	leader := c.Leader()
	owner := c.Peers[slices.IndexFunc(c.Peers, func(p *Peer) bool { return p != leader })]
	owner.Sim.Hang("Start")
	want := ask.VM("one", 1, 16)
	want.Spec.Placement.Peer = owner.Name
	vm, err := leader.Client().CreateVM(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 20*time.Second, func() error {
		if len(owner.Domains()) == 0 {
			return fmt.Errorf("the owner has not come to the start")
		}
		return nil
	})
	owner.Stop()
	leader.Stop()
	leader.Start()
	owner.Sim.Mend()
	owner.Start()
	for _, p := range c.Peers {
		p.WaitReady()
	}
	op, err := c.Leader().Client().Operation(t.Context(), vm.Status.Operation, api.WithWait(30*time.Second))
	if err != nil || op.State != api.OpSucceeded || op.Kind != "create" || op.Target.ID != vm.ID || len(op.Steps) == 0 {
		t.Errorf("the operation is %+v, %v", op, err)
	}
	if found := owner.Domains(); len(found) != 1 {
		t.Errorf("domains: %v, want one", found)
	}
}

// TestSecretsOfGuestsStaySealed: what a user gave as user-data stands in no file of any peer.
//
//race:out
func TestSecretsOfGuestsStaySealed(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	c := Start(t, 2, nil)
	want := ask.VM("one", 1, 16)
	want.Spec.UserData = "#cloud-config\npassword: " + secret + "\n"
	vm, err := c.Peers[0].Client().CreateVM(t.Context(), want, api.WithWait(20*time.Second))
	if err != nil || !vm.Status.HasUserData {
		t.Fatalf("created: %+v, %v", vm.Status, err)
	}
	if a := c.Peers[1].Do("GET", "/v1/vms/one", nil); strings.Contains(string(a.Body), secret) {
		t.Errorf("the answer has it: %s", a.Body)
	}
	if _, err := c.Peers[1].Client().TakeSnapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Peers {
		p.Stop()
		files := 0
		if err := filepath.WalkDir(p.Config.DataDir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s has it", path)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		if files < 10 {
			t.Errorf("only %d files were looked at on %s", files, p.Name)
		}
	}
}

// told is an error with what it says of each host.
func told(err error) string {
	refused, is := errors.AsType[*api.Error](err)
	if !is {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%v; hosts: %+v", err, refused.Hosts)
}
