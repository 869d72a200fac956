package fsm

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/snapshot"
)

// missingVMs are the VMs of a snapshot that are gone, in the order of their ids,
// but for those that were on their way out then and those whose name is taken again.
func (r Reader) missingVMs(f *snapshot.Folder) (missing []api.MissingVM, err error) {
	for vm, err := range vms.codec.Rows(f, vms.name) {
		if err != nil {
			return nil, err
		}
		if _, there := vms.one(r, vm.ID); there || vm.Status.Desired == api.WantDeleted {
			continue
		}
		if _, again := r.VMNamed(vm.Account, vm.Name); again {
			continue
		}
		missing = append(missing, api.MissingVM{Account: vm.Account, Name: vm.Name, Command: createCommand(vm)})
	}
	return missing, nil
}

// createCommand is the command line that makes a VM like that one. Labels that the
// flag cannot carry are put on behind it.
func createCommand(vm *api.VM) string {
	words := []string{"orchd", "vm", "create", vm.Name, "--account", vm.Account, "--cpu", strconv.FormatInt(vm.Spec.VCPUs, 10),
		"--memory", fmt.Sprintf("%dMiB", vm.Spec.MemoryMiB)}
	if vm.Spec.DiskGiB > 0 {
		words = append(words, "--disk", fmt.Sprintf("%dGiB", vm.Spec.DiskGiB))
	}
	if vm.Spec.Image != "" {
		words = append(words, "--image", vm.Spec.Image)
	}
	words = append(words, accessWords(vm)...)
	words = append(words, placementWords(vm.Spec.Placement)...)
	var behind []string
	for _, key := range slices.Sorted(maps.Keys(vm.Labels)) {
		label := key + "=" + vm.Labels[key]
		if strings.Contains(label, ",") { // there it separates labels
			behind = append(behind, label)
			continue
		}
		words = append(words, "--label", label)
	}
	command := commandLine(words)
	if len(behind) > 0 {
		command += " && " + commandLine(append([]string{"orchd", "vm", "label", vm.Account + "/" + vm.Name}, behind...))
	}
	return command
}

// accessWords say how a VM is reached, and what becomes of it. Its user-data is sealed
// and cannot be said.
func accessWords(vm *api.VM) (words []string) {
	if vm.Spec.Network != "" {
		words = append(words, "--network", vm.Spec.Network)
	}
	for _, key := range vm.Spec.SSHKeys {
		words = append(words, "--ssh-key", key)
	}
	if vm.Spec.Restart != "" && vm.Spec.Restart != api.RestartOnFailure {
		words = append(words, "--restart", string(vm.Spec.Restart))
	}
	if vm.Protected {
		words = append(words, "--protect")
	}
	return words
}

// placementWords say where a VM may and should be.
func placementWords(p api.Placement) (words []string) {
	spread := p.Spread
	if spread == api.SpreadLabel {
		spread += ":" + p.SpreadLabel
	}
	for _, f := range [][2]string{{"--peer", p.Peer}, {"--group", p.Group}, {"--spread", spread}, {"--with", p.With}, {"--apart-from", p.ApartFrom}} {
		if f[1] != "" {
			words = append(words, f[0], f[1])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		words = append(words, "--require-label", key+"="+p.Labels[key])
	}
	return words
}

// commandLine is words as a POSIX shell reads them again.
func commandLine(words []string) string {
	quoted := make([]string, len(words))
	for k, word := range words {
		quoted[k] = word
		if word == "" || strings.ContainsFunc(word, needsQuotes) {
			quoted[k] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func needsQuotes(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+", r))
}
