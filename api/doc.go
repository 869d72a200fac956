// Package api is the contract of orchd: the resources and their states, the
// errors, who may do what, and the Go client. Every other package speaks in
// these words and this package imports none of them.
//
// The same struct is what a caller sees as JSON, what the log carries as CBOR
// and what a snapshot keeps as parquet columns: the JSON name of a field is its
// name everywhere. Start with VM, Peer and Operation, then Error.
package api
