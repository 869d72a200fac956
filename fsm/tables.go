package fsm

// tables is everything the cluster remembers, in the order snapshots keep it.
// The order is no part of the format: a snapshot names its tables.
var tables = []anyTable{
	settings, accounts, tokens, peers, images, vms, tombstones, sightings, operations, requests,
	computeNodes, bmcs, collections, networks, staged,
	components, redfishEndpoints, componentEndpoints, ethernetInterfaces,
	sizes, sshKeys, imageCopies, usages,
	leases, seeds, placements, diskSnapshots,
	services, spells, spellKV, deployments, deals,
	spellRuns, spellLines, spellMail, holders,
	rotations,
}

// The place of each table in a state's trees is its place in tables.
func init() {
	for pos, t := range tables {
		t.number(pos)
	}
}
