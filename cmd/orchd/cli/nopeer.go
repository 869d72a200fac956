//go:build !peer

package cli

type thisPeer struct{ Daemon }
