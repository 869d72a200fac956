package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

// catalogue is a random command about accounts, sizes, keys, images and networks.
func (s *scribe) catalogue(t *testing.T) []byte {
	return pick(s, []func(*testing.T) []byte{
		s.account, s.account, s.quota, s.quota, s.suspend, s.unaccount, s.size, s.deprecate, s.unsize, s.sshKey, s.sshKey, s.unSSHKey,
		s.keptImage, s.keptImage, s.store, s.store, s.store, s.progress, s.export, s.export,
	})(t)
}

var randomAccounts = []string{"other", "third", api.DefaultAccount}

func (s *scribe) account(t *testing.T) []byte {
	return s.encoded(t, createAccount, s.actor(), api.AccountCreate{Name: pick(s, append(randomAccounts, "No")), Quota: s.someQuota()})
}

func (s *scribe) someQuota() api.Quota {
	return pick(s, []api.Quota{{}, {}, {VMs: 3}, {VCPUs: 9, MemoryMiB: 9000}, {DiskGiB: 50, Addresses: 2}, {VMs: -1}})
}

func (s *scribe) quota(t *testing.T) []byte {
	return s.encoded(t, updateAccount, s.actor(), accountUpdate{Name: pick(s, randomAccounts), IfVersion: uint64(s.rng.IntN(9) / 8), Update: api.AccountUpdate{Quota: s.someQuota()}})
}

func (s *scribe) suspend(t *testing.T) []byte {
	return s.encoded(t, updateAccount, admin, accountUpdate{Name: pick(s, randomAccounts),
		Update: api.AccountUpdate{Suspended: true, Reason: pick(s, []string{"", "unpaid", strings.Repeat("long", 200)})}})
}

func (s *scribe) unaccount(t *testing.T) []byte {
	return s.encoded(t, deleteAccount, admin, accountDelete{pick(s, randomAccounts)})
}

func (s *scribe) size(t *testing.T) []byte {
	return s.encoded(t, createSize, pick(s, []api.Actor{admin, admin, operator}),
		api.SizeCreate{Name: pick(s, []string{"xs", "s", "m"}), VCPUs: int64(s.rng.IntN(4)), MemoryMiB: 512, DiskGiB: int64(s.rng.IntN(20))})
}

func (s *scribe) someSize() api.Size { return pick(s, slices.Collect(s.m.Read().Sizes(""))) }

func (s *scribe) deprecate(t *testing.T) []byte {
	return s.encoded(t, updateSize, admin, sizeUpdate{ID: s.someSize().ID, Update: api.SizeUpdate{Deprecated: s.rng.IntN(2) == 0}})
}

func (s *scribe) unsize(t *testing.T) []byte {
	return s.encoded(t, deleteSize, admin, sizeDelete{s.someSize().ID})
}

func (s *scribe) sshKey(t *testing.T) []byte {
	return s.encoded(t, createSSHKey, s.actor(), sshKeyCreate{Name: fmt.Sprint("key", s.rng.IntN(4)), Account: pick(s, append(randomAccounts, "")), Type: "ssh-ed25519",
		Key: pick(s, []string{testKeys[0], testKeys[1], testKeys[2], "AAAA"}), Comment: pick(s, []string{"", "anna", "a\x1b"})})
}

func (s *scribe) unSSHKey(t *testing.T) []byte {
	return s.encoded(t, deleteSSHKey, s.actor(), sshKeyDelete{pick(s, slices.Collect(s.m.Read().SSHKeys(""))).ID})
}

func (s *scribe) keptImage(t *testing.T) []byte {
	c := imageCreate{Via: pick(s, []string{s.member().ID, s.member().ID, "nobody"})}
	c.Name, c.Account = pick(s, []string{"im1", "im2", "im3", "im4"}), pick(s, append(randomAccounts, "", ""))
	c.Format = pick(s, []string{"", "qcow2"})
	switch s.rng.IntN(4) {
	case 0:
		c.URL, c.SHA256 = "https://example.org/im", pick(s, []string{testSums[0], testSums[1], ""})
	case 1:
		c.Source, c.Peer, c.Path = api.SourcePeer, s.member().Name, "/im"
	}
	return s.encoded(t, createImage, s.actor(), c)
}

// store is a peer's word on some image, mostly by the one that brings it in.
func (s *scribe) store(t *testing.T) []byte {
	i, peer := pick(s, slices.Collect(s.m.Read().Images(""))), s.member().ID
	if i.State == api.ImagePending && s.rng.IntN(4) > 0 {
		peer = i.Via
	}
	c := api.ImageContent{Image: i.ID, SHA256: pick(s, testSums), Bytes: int64(s.rng.IntN(2) * 100), VirtualBytes: 1 << 20}
	if i.SHA256 != "" && s.rng.IntN(4) > 0 {
		c.SHA256 = i.SHA256
	}
	switch s.rng.IntN(6) {
	case 0:
		c = api.ImageContent{Image: i.ID, Gone: true}
	case 1:
		c = api.ImageContent{Image: i.ID, Error: "the host does not answer"}
	}
	return s.encoded(t, storedImage, ActorOfPeer(peer), c)
}

func (s *scribe) progress(t *testing.T) []byte {
	i := pick(s, slices.Collect(s.m.Read().Images("")))
	return s.encoded(t, progressImage, ActorOfPeer(i.Via), imageProgress{i.ID, int64(s.rng.IntN(100)), 100})
}

// export is of a VM that is stopped, if there is one.
func (s *scribe) export(t *testing.T) []byte {
	vm := s.vm()
	for resting := range s.m.Read().VMs("") {
		if resting.Status.State == api.VMStopped && resting.Status.Desired == api.WantStopped {
			vm = resting
		}
	}
	return s.encoded(t, exportVM, s.actor(), vmExport{vm.ID, fmt.Sprint("ex", s.rng.IntN(3))})
}

// catalogueHolds: what accounts are said to hold is what their rows add up to, and
// there are copies only of images whose content is kept, on peers that belong to the
// cluster; whoever belongs to an account has one.
func catalogueHolds(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	used := map[string]api.Quota{}
	for vm := range r.VMs("") {
		used[vm.Account] = quotaPlus(used[vm.Account], api.Quota{VMs: 1, VCPUs: vm.Spec.VCPUs, MemoryMiB: vm.Spec.MemoryMiB, DiskGiB: vm.Spec.DiskGiB})
		if a, there := accounts.one(r, vm.Account); !there || a.Suspended != vm.Status.Suspended {
			t.Errorf("seed %d: VM %s/%s says of its account that it is suspended: %v; it is there: %v, and suspended: %v", seed, vm.Account, vm.Name, vm.Status.Suspended, there, a.Suspended)
		}
	}
	for l := range leases.each(r, "") {
		if l.IP != "" {
			used[l.Account] = quotaPlus(used[l.Account], api.Quota{Addresses: 1})
		}
	}
	for account := range r.Accounts("") {
		if got := r.used(account.Name); got != used[account.Name] {
			t.Errorf("seed %d: account %s is said to hold %+v, its rows are %+v", seed, account.Name, got, used[account.Name])
		}
	}
	if n := r.state.sums.used.Len(); n != len(used) {
		t.Errorf("seed %d: %d accounts are said to hold something, %d do", seed, n, len(used))
	}
	for k := range sshKeys.each(r, "") {
		if ofNoAccount(r, &k) {
			t.Errorf("seed %d: key %s is of account %s, which is not there", seed, k.Name, k.Account)
		}
	}
	imagesHold(t, seed, r)
}

func imagesHold(t *testing.T, seed uint64, r Reader) {
	t.Helper()
	for c := range imageCopies.each(r, "") {
		i, there := images.one(r, c.Image)
		if p, _ := peers.one(r, c.Peer); !there || !i.Kept() || i.State != api.ImageAvailable || p.State != api.PeerMember {
			t.Errorf("seed %d: peer %s (%s) is said to have a copy of image %q (%s)", seed, c.Peer, p.State, i.Name, i.State)
		}
	}
	names := map[string]bool{}
	for i := range images.each(r, "") {
		if _, there := accounts.one(r, i.Account); names[i.Name] || i.Account != "" && !there {
			t.Errorf("seed %d: image %s: another has its name: %v; its account is there: %v", seed, i.Name, names[i.Name], there)
		}
		names[i.Name] = true
		via, _ := peers.one(r, i.Via)
		o, known := operations.one(r, i.Operation)
		if i.State == api.ImagePending && (via.State != api.PeerMember || !known || o.State.Done()) {
			t.Errorf("seed %d: image %s is awaited from %s, which is %s, by operation %s, which is %s", seed, i.Name, i.Via, via.State, i.Operation, o.State)
		}
		if i.State != api.ImagePending && known && !o.State.Done() {
			t.Errorf("seed %d: image %s is %s, and its operation is %s", seed, i.Name, i.State, o.State)
		}
	}
}

// testKeys are ed25519 public keys.
var testKeys = []string{
	"AAAAC3NzaC1lZDI1NTE5AAAAIPjhPvLafddTFxjklmCeljm8tGnwDCDbdzsPAQ60EuNU",
	"AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
}

// testSums are what could be SHA-256 sums.
var testSums = []string{strings.Repeat("a", 64), strings.Repeat("b", 64)}
