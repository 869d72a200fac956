package peer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/fsm"
)

// findingsTime is how long a host has to look at itself.
const findingsTime = 10 * time.Second

// maxAnswer is how long a peer's answer to a question about its host may be, in bytes.
const maxAnswer = 16 << 20

// Findings asks every host where its domains and files disagree with the records,
// and adds what the tables alone tell. A host that does not answer is one itself.
func (p *Peer) Findings(ctx context.Context) ([]api.Finding, error) {
	r := p.machine.Read()
	all := imagesWithoutCopy(r)
	for host, answer := range askAll(ctx, p, r, "/peer/findings", p.ownFindings) {
		all = append(all, answer.found...)
		if answer.err != nil {
			all = append(all, api.Finding{Code: "host-silent", Peer: host, Detail: "it could not be asked: " + answer.err.Error(), Action: "orchd peer show " + host})
		}
	}
	slices.SortFunc(all, func(a, b api.Finding) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Name, b.Name), cmp.Compare(a.VM, b.VM))
	})
	return all, nil
}

// ownFindings are this host's.
func (p *Peer) ownFindings(ctx context.Context) ([]api.Finding, error) {
	found := append(p.images.findings(), p.driverWarnings()...)
	if p.loop == nil {
		return found, nil
	}
	more, err := p.loop.Findings(ctx)
	for i := range more {
		more[i].Peer = cmp.Or(more[i].Peer, p.identity.Name)
	}
	return append(found, more...), err
}

// driverWarnings are what this host's driver could not do as it should.
func (p *Peer) driverWarnings() (found []api.Finding) {
	driver, warns := p.hypervisor.(interface{ Warnings() []string })
	if !warns {
		return nil
	}
	for _, text := range driver.Warnings() {
		found = append(found, api.Finding{Code: "host-limited", Peer: p.identity.Name, Detail: text, Action: "see docs/reference/configuration.md, vmm"})
	}
	return found
}

// imagesWithoutCopy are the images that were there once, and that no peer has now.
func imagesWithoutCopy(r fsm.Reader) (found []api.Finding) {
	for i := range r.Images("") {
		if !i.Kept() || i.State != api.ImageAvailable || len(r.ImagePeers(i.ID)) > 0 {
			continue
		}
		found = append(found, api.Finding{Code: "image-without-copy", Name: i.Name,
			Detail: fmt.Sprintf("no peer has a copy of image %q: VMs that run go on, and no host can make another of it", i.Name),
			Action: "orchd image delete " + i.Name + ", then make it again from its source"})
	}
	return found
}

// ForeignDomains lists the domains on a peer's hypervisor, or on all, that are none of this cluster's.
func (p *Peer) ForeignDomains(ctx context.Context, peer string) ([]api.ForeignDomain, error) {
	r := p.machine.Read()
	all := []api.ForeignDomain{}
	if peer != "" {
		host, known := r.Peer(peer)
		if !known {
			return nil, api.Errorf(api.NotFound, "domain.list", "no peer %q", peer)
		}
		ctx, cancel := context.WithTimeout(ctx, findingsTime)
		defer cancel()
		return askOne(ctx, p, host, "/peer/domains", p.ownDomains)
	}
	for _, answer := range askAll(ctx, p, r, "/peer/domains", p.ownDomains) {
		if answer.err != nil {
			return nil, answer.err
		}
		all = append(all, answer.found...)
	}
	slices.SortFunc(all, func(a, b api.ForeignDomain) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// ownDomains are this host's.
func (p *Peer) ownDomains(ctx context.Context) ([]api.ForeignDomain, error) {
	if p.loop == nil {
		return []api.ForeignDomain{}, nil
	}
	found, err := p.loop.Foreign(ctx)
	for i := range found {
		found[i].Peer = p.identity.Name
	}
	return found, err
}

// answerOf is what one host says.
type answerOf[T any] struct {
	found []T
	err   error
}

// askAll asks all members side by side; the answers are by the peers' names.
func askAll[T any](ctx context.Context, p *Peer, r fsm.Reader, path string, own func(context.Context) ([]T, error)) map[string]answerOf[T] {
	ctx, cancel := context.WithTimeout(ctx, findingsTime)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	answers := map[string]answerOf[T]{}
	for host := range r.Members() {
		asking.Go(func() {
			found, err := askOne(ctx, p, host, path, own)
			mu.Lock()
			defer mu.Unlock()
			answers[host.Name] = answerOf[T]{found, err}
		})
	}
	asking.Wait()
	return answers
}

// askOne asks one peer, which may be this one.
func askOne[T any](ctx context.Context, p *Peer, host api.Peer, path string, own func(context.Context) ([]T, error)) (found []T, err error) {
	if host.ID == p.identity.PeerID {
		return own(ctx)
	}
	resp, err := p.download(ctx, host.ID, path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&found); err != nil {
		return nil, api.Errorf(api.Internal, "peer", "the answer of peer %s makes no sense: %w", host.Name, err)
	}
	return found, nil
}

// serveAsked is the other side of askOne.
func serveAsked[T any](own func(context.Context) ([]T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		found, err := own(r.Context())
		answerPeer(w, found, err)
	}
}
