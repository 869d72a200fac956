// Package snapshot turns tables of rows into parquet files and back, and keeps
// folders of them.
//
// A folder holds one moment of the replicated state: a parquet file for each
// table, and manifest.json, which names every file with its size and SHA-256 and
// carries a sum of itself. What always holds: a folder under its final name is
// whole. It is written under a name that begins with a dot, fsynced, renamed,
// and read again before anyone is told that it exists; one that was torn or
// altered afterwards is refused by name, with the reason.
//
// Codec is the way between a Go type and parquet columns. Folder is a folder
// that was verified. Store keeps raft's own snapshots (raft.SnapshotStore) and
// sends them to other peers; Marks keeps those that people query and roll back
// to, reads them again and mends them; History keeps every single change between
// them. Redacted is a row without its secrets.
// Start with Content, then Folder; DESIGN.md says why it is this way.
package snapshot
