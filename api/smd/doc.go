// Package smd holds the words of the State Manager API (HSM v2), in which ochami,
// magellan, coresmd, BSS and others speak of components, Redfish endpoints,
// interfaces and groups: its wire types, how its clients write them (body.go), what
// follows from a Redfish endpoint (derive.go), and what they may ask of a list
// (filter.go). All of it is pure. The API is a view of the inventory.
package smd
