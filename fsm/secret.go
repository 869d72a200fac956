package fsm

// secretWrite is what a write says of a secret: nothing, so that the stored one
// stays, or its new sealed value, which is empty to take it away.
type secretWrite struct {
	Given  bool   `cbor:"1,keyasint,omitempty"`
	Sealed []byte `cbor:"2,keyasint,omitempty"`
}

// over is the secret after the write, where it was old.
func (w secretWrite) over(old []byte) []byte {
	if w.Given {
		return w.Sealed
	}
	return old
}

// A Sealer seals secrets before they enter the log. What for is part of the seal:
// a value sealed for one purpose does not open for another.
type Sealer interface {
	Seal(purpose string, plaintext []byte) ([]byte, error)
}

// The purposes for which secrets of the inventory are sealed.
const (
	SealBMCPassword         = "bmc.password"
	SealSpecPassword        = "compute_node.spec.bmc_password"
	SealNodeCloudInit       = "compute_node.cloud_init_data"
	SealCollectionCloudInit = "node_collection.cloud_init_data"
	SealEndpointPassword    = "redfish_endpoint.password"
)

// sealed makes the write of a secret; nil leaves it as it is, empty takes it away.
func (w *Writer) sealed(purpose string, plaintext *string) (secretWrite, error) {
	switch {
	case plaintext == nil:
		return secretWrite{}, nil
	case *plaintext == "":
		return secretWrite{Given: true}, nil
	}
	b, err := w.sealer.Seal(purpose, []byte(*plaintext))
	return secretWrite{Given: true, Sealed: b}, err
}
