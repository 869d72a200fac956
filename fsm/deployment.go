package fsm

import (
	"context"
	"iter"
	"slices"

	"github.com/orchd/orchd/api"
)

// deployments are what peers say of their packages. They go with the peer.
var deployments = &table[api.Deployment]{
	name: "deployments",
	key:  func(d *api.Deployment) string { return deploymentKey(d.Peer, d.Package) },
	by: map[string]func(*api.Deployment) string{
		"peer": func(d *api.Deployment) string { return d.Peer },
	},
}

func deploymentKey(peer, pkg string) string { return peer + "/" + pkg }

var packageStates = []api.PackageState{api.PackageCreated, api.PackageExisting, api.PackageUpdated, api.PackageRemoved, api.PackageFailed}

// applyReportDeployment keeps what a peer says of one of its packages. The same again
// changes nothing.
func applyReportDeployment(tx *Txn, c api.Deployment) (object, error) {
	const op = "deployment.report"
	p, err := tx.asPeer(op)
	if err != nil {
		return nothing, err
	}
	if c.Peer != p.ID {
		return nothing, api.Errorf(api.Forbidden, op, "peer %s says what only peer %s can", p.Name, clipped(c.Peer))
	}
	if err := tx.hosts(op, c.Scope); err != nil {
		return nothing, err
	}
	var bad faults
	bad.wrong(!api.ValidName(c.Package), "/package", badName)
	bad.wrong(!slices.Contains(packageStates, c.State), "/state", "must be created, existing, updated, removed or failed")
	if err := bad.refusal(op, "the report is not valid"); err != nil {
		return nothing, err
	}
	c.Error, c.Note, c.Version = clipped(c.Error), clipped(c.Note), clipped(c.Version)
	if c.At.IsZero() {
		c.At = tx.Now
	}
	c.UpdatedAt = tx.Now
	canonicalize(&c)
	was, there := deployments.one(tx.Reader, deployments.key(&c))
	same := c
	same.At, same.UpdatedAt = was.At, was.UpdatedAt
	if !there || same != was {
		deployments.put(tx, c)
		wakeServices(tx)
	}
	return object{table: deployments, key: deployments.key(&c)}, nil
}

// Deployments lists what peers say of their packages, by peer and package.
func (r Reader) Deployments() iter.Seq[api.Deployment] { return deployments.each(r, "") }

// Deployment is what a peer says of a package.
func (r Reader) Deployment(peer, pkg string) (api.Deployment, bool) {
	return deployments.one(r, deploymentKey(peer, pkg))
}

// ReportDeployment tells the cluster what became of a package on the peer that asks.
func (w *Writer) ReportDeployment(ctx context.Context, d api.Deployment) error {
	_, err := propose[api.Deployment](ctx, w, reportDeployment, d)
	return err
}
