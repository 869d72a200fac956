// Package schema decides what the inventory takes. It publishes a JSON Schema
// (draft 2020-12) of each kind, and reads request bodies by the very same documents.
//
// A schema has two sources: the Go type gives names and types, and the table of
// its fields (node.go, bmc.go, collection.go, statemanager.go) gives what a type
// cannot say: what is required, formats, descriptions.
//
// A body is read twice at most. The first reading (fast.go) goes once over the
// text, straight into the Go type, and knows only yes and no; 250,000 nodes pass
// through it. To a no the second reading (slow.go) finds the reasons, with the
// schema itself and a JSON pointer to each fault. What the one takes the other
// takes: fuzz tests hold them together, and the schema is right.
//
// Start with Of and DecodeNode.
package schema
