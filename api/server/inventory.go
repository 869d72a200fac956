package server

// inventoryRoutes are the kinds of node-orchestrator.
var inventoryRoutes = []facade{}
