package onehost

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/lab"
)

// TestLeave: each peer in turn leaves, the leader too; the others go on, and who
// has left cannot be started again.
func TestLeave(t *testing.T) {
	c := Start(t, 4, nil)
	for _, p := range c.Peers[:2] {
		if a := p.Do("DELETE", "/v1/peers/"+p.Name, nil); a.Status != 204 {
			t.Fatalf("%s leaves: %d %s", p.Name, a.Status, a.Body)
		}
		select {
		case <-p.Ended():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s has left and goes on", p.Name)
		}
		p.Stop()
		if err := p.TryStart(); err == nil || !strings.Contains(err.Error(), "has left") {
			t.Errorf("%s is started again: %v", p.Name, err)
		}
		for _, rest := range c.Peers {
			if rest.Running == nil {
				continue
			}
			lab.Eventually(t, 20*time.Second, func() error {
				for _, s := range rest.Running.Node().Servers() {
					if _, member := rest.Running.Machine().Read().Peer(s.ID); !member {
						return fmt.Errorf("%s still counts %s", rest.Name, s.ID)
					}
				}
				return nil
			})
		}
	}
	last := c.Peers[3]
	if a := last.Do("POST", "/v1/vms", ask.VM("one", 1, 64)); a.Status != 201 {
		t.Errorf("a create among those who are left: %d %s", a.Status, a.Body)
	}
	owner := last.VMs()[0].Status.Owner
	if a := last.Do("DELETE", "/v1/peers/"+owner, nil); a.Status != 409 {
		t.Errorf("an owner of VMs leaves: %d %s", a.Status, a.Body)
	}
}
