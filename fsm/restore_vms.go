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
