package api

// Voucher is a signature (Ed25519, RFC 8032) with a key that the package trust-graph
// knows. Package voucher makes and checks them, and says over which text.
type Voucher struct {
	Key       string `json:"key" pattern:"^[0-9a-f]{64}$" doc:"Public key of who signed, hexadecimal"`
	Signature string `json:"signature" pattern:"^[0-9a-f]{128}$" doc:"Hexadecimal"`
}
