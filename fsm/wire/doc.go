// Package wire has the words in which fsm/wire_code.go, which is generated, writes
// rows and commands as CBOR and JSON and reads commands back.
//
// What Append* writes is, byte for byte, what encoding/json writes without escaping
// HTML, and what github.com/fxamacker/cbor writes by the options of package fsm:
// deterministic CBOR (RFC 8949, section 4.2.1) with times as RFC 3339 text. A Reader takes
// that form and no other: what it refuses may still be fit to read for that library,
// and whoever calls it then asks that.
package wire
