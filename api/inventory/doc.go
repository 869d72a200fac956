// Package inventory holds the kinds of a bare-metal fleet: compute nodes, their
// BMCs and interfaces, collections of nodes, in the words of OpenCHAMI's
// node-orchestrator, whose clients speak to orchd unchanged.
//
// The types here are what travels over HTTP. Package schema makes a JSON Schema of
// each, and decides by it what the server takes. Two names for one field are
// resolved while decoding: xname and location_string, ipv4_address and ip_address.
//
// Secrets are write-only. A password or cloud-init data in a request is stored
// sealed; an answer leaves it out. Left out of a PUT or PATCH it stays as it is;
// an empty one takes it away.
package inventory
