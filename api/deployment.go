package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
)

// WishesOfOthers is a digest of what peers other than self have said that they want of a
// package of the cluster: SHA-256 in hex. Rows come in the order of their keys. Who removes
// what is there of a package says by which of them that was decided.
func WishesOfOthers(rows iter.Seq[Deployment], pkg, self string) string {
	h := sha256.New()
	for d := range rows {
		if d.Package == pkg && d.Peer != self && d.Scope == ScopeCluster {
			fmt.Fprintf(h, "%q %t %t %q %d\n", d.Peer, d.Enabled, d.Deploying, d.Digest, d.Order)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
