package peer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
)

// disagreement is in what this host was last seen to disagree with the records: it
// goes to the others with each ping, so that any peer's status can tell.
type disagreement struct {
	mu    sync.Mutex
	found []api.Finding
}

const (
	disagreeEvery  = time.Minute
	sharedFindings = 8 // that go with a ping; orchd doctor shows all
)

// watchFindings looks at this host every minute.
func (p *Peer) watchFindings(ctx context.Context) error {
	tick := time.NewTicker(disagreeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, findingsTime)
		found, err := p.ownFindings(limited)
		cancel()
		if err != nil {
			continue // the driver is down, which status says
		}
		p.disagree.mu.Lock()
		p.disagree.found = found
		p.disagree.mu.Unlock()
	}
}

// shared is the first few of them, and how many there are.
func (d *disagreement) shared() (first []api.Finding, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.found[:min(len(d.found), sharedFindings)], len(d.found)
}

// findingsOf is what a peer last said of itself.
func (p *Peer) findingsOf(id string) ([]api.Finding, int) {
	if id == p.identity.PeerID {
		return p.disagree.shared()
	}
	w, _ := p.wordOf(id)
	return w.Findings, w.FindingsCount
}

// findingWarnings are the warnings of status about a peer's findings.
func (p *Peer) findingWarnings(v api.PeerView, add func(code, peer, vm, detail, action string)) {
	first, n := p.findingsOf(v.ID)
	for _, f := range first {
		add(f.Code, v.Name, f.VM, f.Detail, f.Action)
	}
	if more := n - len(first); more > 0 {
		add("more-findings", v.Name, "", fmt.Sprintf("%d more disagreements between this host and the records", more), "orchd doctor")
	}
}
