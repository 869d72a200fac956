package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) vmSSH() *cobra.Command {
	var user string
	var timeout time.Duration
	cmd := a.verb(verb{
		use:   "ssh NAME [-- ARGS...]",
		short: "Log in to a virtual machine by SSH, its host key checked from the first time on",
		long: "Log in to a virtual machine by SSH, its host key checked from the first time on: orchd has the guest's keys from\n" +
			"its host and not over the network, and ssh takes no others. A guest that has just been made is waited for.\n" +
			"ARGS go to ssh behind the address: a command, or options. It exits as ssh does.",
		example: `
orchd vm ssh web1 --user debian
orchd vm ssh web1 --user debian -- uptime
orchd vm ssh web1 -- -i ~/.ssh/other -L 8080:localhost:80`,
		min: 1, max: many, noun: vmNames,
		run: func(ctx context.Context, args []string) error { return a.ssh(ctx, args[0], user, args[1:], timeout) },
	})
	cmd.ValidArgsFunction = a.completeArgs(vmNames, 1)
	cmd.Flags().StringVar(&user, "user", "", "whom to log in as (default: what ssh itself takes)")
	patience(cmd, &timeout, "timeout", 2*time.Minute, "how long to wait for the guest's keys")
	return cmd
}

func (a *App) vmKnownHosts() *cobra.Command {
	var timeout time.Duration
	cmd := a.verb(verb{
		use:   "known-hosts NAME",
		short: "Print a virtual machine's own SSH keys as lines for a known_hosts file",
		long: "Print a virtual machine's own SSH keys as lines for a known_hosts file, by address and by name. They were\n" +
			"gathered on its host and not over the network, so a first connection can be checked.",
		example: "orchd vm known-hosts web1 >> ~/.ssh/known_hosts\norchd vm known-hosts web1 --timeout 2m     # waits for them",
		min:     1, max: 1, noun: vmNames,
		run: func(ctx context.Context, args []string) error {
			vm, err := a.withKeys(ctx, args[0], timeout)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.Stdout, knownHosts(vm.Status.SSHHostKeys, append(addresses(vm), vm.Name)...))
			return err
		},
	})
	cmd.Flags().Var((*durationFlag)(&timeout), "timeout", "how long to wait for the guest's keys (default: not at all)")
	return cmd
}

// addresses are the IP addresses of a VM, IPv4 first: those of the guests' one interface.
func addresses(vm api.VM) []string {
	var all []netip.Addr
	for _, at := range vm.Status.Addresses {
		if ip, err := netip.ParseAddr(at.IP); err == nil {
			all = append(all, ip)
		}
	}
	slices.SortStableFunc(all, func(x, y netip.Addr) int { return x.BitLen() - y.BitLen() })
	var texts []string
	for _, ip := range all {
		texts = append(texts, ip.String())
	}
	return texts
}

// knownHosts is a known_hosts file (sshd(8)) with each key under each of the names.
func knownHosts(keys []api.HostKey, names ...string) string {
	var b strings.Builder
	for _, name := range names {
		for _, k := range wellFormed(keys) {
			fmt.Fprintf(&b, "%s %s %s\n", name, k.Type, k.Key)
		}
	}
	return b.String()
}

// wellFormed leaves out what is no key: keys come out of the guest, which must not
// write lines into a user's files or terminal.
func wellFormed(keys []api.HostKey) []api.HostKey {
	return slices.DeleteFunc(slices.Clone(keys), func(k api.HostKey) bool {
		return !oneWord.MatchString(k.Type) || !oneWord.MatchString(k.Key) || !oneWord.MatchString(k.Fingerprint)
	})
}

// oneWord is what the parts of a key, and its fingerprint, are made of.
var oneWord = regexp.MustCompile(`^[A-Za-z0-9+/=:@._-]+$`)

// fingerprints writes keys as ssh shows them.
func fingerprints(keys []api.HostKey) string {
	var all []string
	for _, k := range wellFormed(keys) {
		all = append(all, k.Type+" "+k.Fingerprint)
	}
	return strings.Join(all, ", ")
}

// withKeys finds a VM whose guest has told its keys, and waits for them up to timeout.
func (a *App) withKeys(ctx context.Context, ref string, timeout time.Duration) (api.VM, error) {
	began := time.Now()
	for waited := false; ; waited = true {
		_, vm, err := a.findVM(ctx, ref)
		switch {
		case err != nil && !(waited && api.IsKind(err, api.Unavailable)):
			return vm, err
		case err == nil && len(wellFormed(vm.Status.SSHHostKeys)) > 0:
			return vm, nil
		case err == nil && !onItsWay(vm):
			return vm, &failure{exitConflict, fmt.Sprintf("%s is %s", vm.Name, vm.Status.State), "start it first: orchd vm start " + ref}
		case time.Since(began) >= timeout:
			return vm, noKeysYet(ref, timeout)
		case !waited:
			a.say("%s has not told its SSH keys yet; waiting for them up to %s", ref, timeout)
		}
		if err := pause(ctx, lookEvery); err != nil {
			return vm, err
		}
	}
}

// onItsWay tells whether the guest runs or is about to.
func onItsWay(vm api.VM) bool {
	return slices.Contains([]api.VMState{api.VMAssigned, api.VMCreating, api.VMRunning, api.VMUnknown}, vm.Status.State) || vm.Status.Restarting
}

func noKeysYet(ref string, waited time.Duration) error {
	msg := ref + " has not told its SSH keys yet"
	if waited > 0 {
		msg += fmt.Sprintf(", after %s", waited)
	}
	return &failure{exitUnreachable, msg, "see how far it is: orchd vm console-log " + ref + "    (without keys nobody can tell whether it is the right one)"}
}

// ssh runs ssh so that it accepts the guest's own keys and no others.
func (a *App) ssh(ctx context.Context, ref, user string, args []string, timeout time.Duration) error {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return &failure{exitFailed, "there is no ssh on this host", "install OpenSSH's client (openssh-client)"}
	}
	vm, err := a.withAddress(ctx, ref, timeout)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "orchd-ssh-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(file, []byte(knownHosts(vm.Status.SSHHostKeys, vm.Name)), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(program, sshArgs(vm, file, user, args)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.Stdin, a.Stdout, a.Stderr
	err = runPassing(cmd)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return &failure{exit.ExitCode(), "", ""}
	}
	return err
}

// withAddress is withKeys for a VM that can be reached.
func (a *App) withAddress(ctx context.Context, ref string, timeout time.Duration) (api.VM, error) {
	_, vm, err := a.findVM(ctx, ref)
	if err == nil && len(addresses(vm)) == 0 {
		err = &failure{exitConflict, vm.Name + " has no address: it is on no network", "talk to it on its console: orchd vm console " + ref}
	}
	if err != nil {
		return vm, err
	}
	return a.withKeys(ctx, ref, timeout)
}

// sshArgs makes ssh look at one file of keys alone. The alias is the VM's name, so
// that ssh's own messages name it; an address that another guest had before is no harm.
func sshArgs(vm api.VM, file, user string, args []string) []string {
	all := []string{
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + file, "-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "HostKeyAlias=" + vm.Name, "-o", "CheckHostIP=no", "-o", "UpdateHostKeys=no", "-o", "VerifyHostKeyDNS=no",
	}
	if user != "" {
		all = append(all, "-l", user)
	}
	return append(append(all, addresses(vm)[0]), args...)
}
