package server

import (
	"slices"
)

// inventoryRoutes are the routes of node-orchestrator's clients, which know
// ComputeNode also as nodes and BMC also as bmc.
var inventoryRoutes = slices.Concat(
	nodeRoutes("/ComputeNode"), nodeRoutes("/nodes"),
	bmcKind.routes("/BMC"), bmcKind.routes("/bmc"),
	collectionKind.routes("/NodeCollection"),
)
