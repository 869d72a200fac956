package api

import "time"

// The kinds of the cluster's keys. Each can be rotated, that is, replaced step by step
// while everything runs.
const (
	KeySeal   = "seal"   // seals the secrets in the tables
	KeyGossip = "gossip" // encrypts gossip
	KeyCA     = "ca"     // signs the certificates of peers
)

// KeyKinds are all of them.
var KeyKinds = []string{KeySeal, KeyGossip, KeyCA}

// Keys is what there is to know about the cluster's keys and certificates; no key is in it.
type Keys struct {
	Authorities  []AuthorityView   `json:"authorities" doc:"Certificate authorities that peers trust; the first signs"`
	Certificates []CertificateView `json:"certificates" doc:"Certificates of the peers"`
	Keys         []KeyView         `json:"keys" doc:"Keys that are accepted"`
	Rotations    []KeyRotation     `json:"rotations" doc:"Rotations under way, and the last one of each kind"`
}

// AuthorityView is a certificate authority of the cluster.
type AuthorityView struct {
	Hash     string    `json:"hash" doc:"Pin, as join tokens carry it"`
	NotAfter time.Time `json:"not_after"`
	PEM      string    `json:"pem" doc:"Its certificate, for clients to trust"`
}

// The states of a peer's certificate.
const (
	CertificateGood    = "good"
	CertificateDue     = "due"     // to be renewed
	CertificateExpired = "expired" // clients refuse it; peers do not
	CertificateOld     = "old"     // of an authority that is being replaced
)

// CertificateView is the certificate in a peer's row.
type CertificateView struct {
	Peer     string    `json:"peer" doc:"Name of the peer"`
	NotAfter time.Time `json:"not_after"`
	Issuer   string    `json:"issuer" doc:"Hash of the authority that signed it"`
	State    string    `json:"state" enum:"good,due,expired,old"`
}

// KeyView is a key by its name.
type KeyView struct {
	Name  string `json:"name"`
	Kind  string `json:"kind" enum:"seal,gossip,ca"`
	InUse bool   `json:"in_use" doc:"New values are sealed, packets encrypted or certificates signed with it; the others are accepted"`
}

// KeyRotation is how far the replacement of a key is.
type KeyRotation struct {
	Kind      string     `json:"kind" enum:"seal,gossip,ca"`
	Step      string     `json:"step" enum:"resealing,spreading,switching,trusting,issuing,done"`
	Key       string     `json:"key" doc:"Name of the new key"`
	Old       string     `json:"old,omitempty" doc:"Name of the key that it replaces, while that is there"`
	Waiting   []string   `json:"waiting,omitempty" doc:"Names of the peers that have not done this step"`
	Values    int        `json:"values,omitempty" doc:"Values that are still sealed with the old key"`
	NotBefore *time.Time `json:"not_before,omitempty" doc:"The old key stays at least so long"`
	StartedAt time.Time  `json:"started_at"`
	StepAt    time.Time  `json:"step_at" doc:"Since when it is at this step"`
}

// KeyRotate is the wish to replace a key.
type KeyRotate struct {
	Kind string `json:"kind" enum:"seal,gossip,ca"`
	Now  bool   `json:"now,omitempty" doc:"ca: do not keep the old authority for a day; clients that trust it alone are cut off at once. May be asked for a rotation that is under way"`
}

// KeyExport asks for a copy of the cluster's keys.
type KeyExport struct {
	Recipient string `json:"recipient" doc:"X25519 recipient of age (age1...) that the copy is encrypted to" maxLength:"128"`
}

// KeyCopy is a copy of the cluster's keys.
type KeyCopy struct {
	File []byte `json:"file" doc:"age file: a JSON document, encrypted to the recipient"`
}

// KeyDocument is what an offline copy of the keys holds, in clear.
type KeyDocument struct {
	Format      int               `json:"format"` // 1
	ClusterID   string            `json:"cluster_id"`
	MadeAt      time.Time         `json:"made_at"`
	Authorities map[string]string `json:"authorities"` // certificates (PEM) by the name of their key
	Keys        map[string][]byte `json:"keys"`        // by name; those of authorities are PEM
	InUse       []string          `json:"in_use"`      // names of those that are in use
}
