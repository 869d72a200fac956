// Package smd holds the wire types of the State Manager API (HSM v2): the words
// in which ochami, magellan, coresmd, BSS and others speak of components,
// Redfish endpoints, interfaces and groups. It is a view of the inventory.
package smd
