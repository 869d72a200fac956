package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchd/orchd/api"
)

const guestKey = "AAAAC3NzaC1lZDI1NTE5AAAAIBu8J9Wl9bC4l8YhSg0sV4h1n7b9c1z0Qm3y1mXyq2aK"

// reachable is a VM that ssh can log in to.
func reachable() api.VM {
	vm := aVM()
	vm.Status.Addresses = []api.VMAddress{{IP: "fd00::5"}, {IP: "10.1.0.5"}}
	vm.Status.SSHHostKeys = []api.HostKey{
		{Type: "ssh-ed25519", Key: guestKey, Fingerprint: "SHA256:abc"},
		{Type: "ssh-ed25519", Key: "AAAA\nother.example.org ssh-rsa BBBB", Fingerprint: "SHA256:x"}, // from a guest that means harm
	}
	return vm
}

// sshProgram puts a program called ssh on the PATH that notes how it was called, and
// gives the folder of its notes.
func sshProgram(t *testing.T, code string) string {
	t.Helper()
	dir := t.TempDir()
	script := `#!/bin/sh
printf '%s\n' "$@" > "` + dir + `/args"
for a; do case $a in UserKnownHostsFile=*) f=${a#*=}; cp "$f" "` + dir + `/known_hosts"; stat -c %a "$f" "$(dirname "$f")" > "` + dir + `/modes"; dirname "$f" > "` + dir + `/folder";; esac; done
cat
exit ` + code + "\n"
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func content(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSSH: ssh sees one file with the guest's own keys, and no other.
func TestSSH(t *testing.T) {
	dir := sshProgram(t, "7")
	f := newFake(t).answer("GET /v1/vms/web1", reachable())
	a := App{Stdin: strings.NewReader("typed"), Environ: []string{"ORCHD_ADDR=unix://" + f.socket}}
	r := run(t.Context(), a, "vm", "ssh", "web1", "--user", "debian", "--", "-L", "8080:localhost:80", "uptime", "-p")
	if r.code != 7 || r.stdout != "typed" || r.stderr != "" {
		t.Errorf("exit %d, %q, %q; want ssh's own 7", r.code, r.stdout, r.stderr)
	}
	args := content(t, dir, "args")
	for _, want := range []string{"StrictHostKeyChecking=yes\n", "GlobalKnownHostsFile=/dev/null\n", "HostKeyAlias=web1\n", "UpdateHostKeys=no\n", "CheckHostIP=no\n", "-l\ndebian\n10.1.0.5\n-L\n8080:localhost:80\nuptime\n-p\n"} {
		if !strings.Contains(args, want) {
			t.Errorf("ssh was called with\n%swhich has no %q", args, want)
		}
	}
	if got, want := content(t, dir, "known_hosts"), "web1 ssh-ed25519 "+guestKey+"\n"; got != want {
		t.Errorf("known_hosts:\n%swant\n%s", got, want)
	}
	if got := content(t, dir, "modes"); got != "600\n700\n" {
		t.Errorf("modes of the file and its folder: %q", got)
	}
	if _, err := os.Stat(strings.TrimSpace(content(t, dir, "folder"))); !os.IsNotExist(err) {
		t.Errorf("the file is left behind: %v", err)
	}
}

// TestSSHTakesTheKnownHosts asks OpenSSH itself whether it finds the key.
func TestSSHTakesTheKnownHosts(t *testing.T) {
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("no ssh-keygen on this machine")
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(knownHosts(reachable().Status.SSHHostKeys, "10.1.0.5", "fd00::5", "web1")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"10.1.0.5", "fd00::5", "web1"} {
		if out, err := exec.Command(program, "-F", name, "-f", file).CombinedOutput(); err != nil || !strings.Contains(string(out), guestKey) {
			t.Errorf("ssh-keygen -F %s: %v\n%s", name, err, out)
		}
	}
	if out, err := exec.Command(program, "-F", "other.example.org", "-f", file).CombinedOutput(); err == nil {
		t.Errorf("a guest has put another host into the file:\n%s", out)
	}
}

func TestSSHWaitsForKeys(t *testing.T) {
	sshProgram(t, "0")
	young := reachable()
	young.Status.SSHHostKeys, young.Status.State = nil, api.VMCreating
	f := newFake(t).answer("GET /v1/vms/web1", young, young, young, reachable())
	r := f.run("vm", "ssh", "web1")
	if r.code != 0 || r.stderr != "web1 has not told its SSH keys yet; waiting for them up to 2m0s\n" {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestSSHThatCannotBe(t *testing.T) {
	sshProgram(t, "0")
	off, silent, lone := reachable(), reachable(), reachable()
	off.Status.State, off.Status.SSHHostKeys = api.VMStopped, nil
	silent.Status.SSHHostKeys = nil
	lone.Status.Addresses = nil
	for _, c := range []struct {
		name string
		vm   any
		code int
		want string
	}{
		{"off", off, exitConflict, "web1 is stopped\nstart it first: orchd vm start web1"},
		{"no keys", silent, exitUnreachable, "web1 has not told its SSH keys yet, after 10ms\nsee how far it is: orchd vm console-log web1"},
		{"no network", lone, exitConflict, "web1 has no address: it is on no network\ntalk to it on its console: orchd vm console web1"},
		{"unknown", &api.Error{Kind: api.NotFound, Msg: "there is no such vm"}, exitNotFound, "there is no such vm"},
	} {
		f := newFake(t).answer("GET /v1/vms/web1", c.vm).answer("GET /v1/vms", page[api.VM]())
		if r := f.run("vm", "ssh", "web1", "--timeout", "10ms"); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: exit %d, %q; want %d, %q", c.name, r.code, r.stderr, c.code, c.want)
		}
	}
}

func TestSSHThatIsNotThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if r := newFake(t).run("vm", "ssh", "web1"); r.code != exitFailed || !strings.Contains(r.stderr, "there is no ssh on this host\ninstall OpenSSH's client") {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestKnownHosts(t *testing.T) {
	f := newFake(t).answer("GET /v1/vms/web1", reachable())
	r := f.run("vm", "known-hosts", "web1")
	want := "10.1.0.5 ssh-ed25519 " + guestKey + "\nfd00::5 ssh-ed25519 " + guestKey + "\nweb1 ssh-ed25519 " + guestKey + "\n"
	if r.code != 0 || r.stdout != want {
		t.Errorf("exit %d, %q, want %q", r.code, r.stdout, want)
	}
	silent := reachable()
	silent.Status.SSHHostKeys = nil
	f = newFake(t).answer("GET /v1/vms/web1", silent)
	if r := f.run("vm", "known-hosts", "web1"); r.code != exitUnreachable || r.stdout != "" || len(f.asked) != 1 {
		t.Errorf("without keys: exit %d, %q, asked %v", r.code, r.stdout, f.asked)
	}
	if r := f.run("vm", "show", "web1", "-o", "table"); strings.Contains(r.stdout, "other.example.org") {
		t.Errorf("a guest writes to the terminal:\n%s", r.stdout)
	}
}
