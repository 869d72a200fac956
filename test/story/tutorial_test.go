package story

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/test/guest"
	"github.com/orchd/orchd/test/lab"
)

var (
	docBlock = regexp.MustCompile("(?s)\n```\n(.*?)```")
	docLine  = regexp.MustCompile(`(?m)^(h[12])# (.*)$`)
)

// TestTutorial types each command of docs/tutorial.md on the host that it is for, as
// a newcomer would, with a real Debian. Only packages are there already, and the
// two commands that go on serving run in the background.
func TestTutorial(t *testing.T) {
	if missing := lab.Missing(); missing != "" {
		t.Skipf("no lab on this machine; missing: %s (try: sudo make deps)", missing)
	}
	t.Parallel() // it mostly waits for Debian
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	disk := guest.Debian(t)
	l := lab.Start(t, 2, lab.Bridged, lab.With("vmm.capacity.vcpus = 4"))
	for _, host := range l.Hosts() {
		host.Run("ip", "link", "delete", lab.GuestBridge) // the reader makes a bridge
		host.Run("mkdir", "-p", host.Dir()+"/.ssh")
		host.Run("sh", "-c", "echo '"+l.Host(0).Addr+" h1\n"+l.Host(1).Addr+" h2' >>/etc/hosts")
	}
	l.Host(0).Run("cp", disk, "debian.qcow2")
	typed := 0
	for _, block := range docBlock.FindAllStringSubmatch(string(page), -1) {
		for _, line := range docLine.FindAllStringSubmatch(block[1], -1) {
			host := l.Host(strings.Index("h1h2", line[1]) / 2)
			out := typeIn(t, l, host, line[2])
			t.Logf("%s# %s\n%s", line[1], line[2], out)
			typed++
		}
	}
	if typed < 30 {
		t.Errorf("only %d commands were found on the page", typed)
	}
}

// typeIn runs one line of the page.
func typeIn(t *testing.T, l *lab.Lab, host *lab.Host, line string) string {
	t.Helper()
	switch {
	case strings.HasPrefix(line, "apt "):
		return "(it is installed)"
	case line == "orchd init":
		host.Init()
		return "(it serves)"
	case strings.HasPrefix(line, "orchd join h1:7700 --token"):
		host.Join(l.Host(0))
		return "(it serves)"
	case strings.HasPrefix(line, "orchd vm ssh"):
		return logIn(t, host, line)
	}
	out, err := host.Output("sh", "-c", line)
	if line == "orchd status" && strings.Contains(out, "two peers: the cluster survives the loss of neither") && strings.Count(out, "! ") == 1 {
		return out // it says so by its exit status too, and so does the page
	}
	if err != nil {
		t.Fatalf("%s# %s: %v\n%s", host.Name, line, err, out)
	}
	return out
}

// logIn waits until ssh gets in. Its key is named, because ssh looks for it in the
// folder of the user who runs the test.
func logIn(t *testing.T, host *lab.Host, line string) (said string) {
	t.Helper()
	line += " --timeout 1s -- -i ~/.ssh/id_ed25519 -o BatchMode=yes -o ConnectTimeout=5 hostname"
	lab.Eventually(t, 8*time.Minute, func() (err error) {
		if said, err = host.Output("sh", "-c", line); err == nil && said != "web1\n" {
			err = lab.Hopeless("the guest calls itself %q", said)
		}
		if err != nil {
			err = fmt.Errorf("not in yet: %w", err)
		}
		return err
	})
	return said
}
