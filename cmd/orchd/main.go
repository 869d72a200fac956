// Orchd turns 1 to 100 Linux hosts into one place to run virtual machines.
// This package only starts the command line; see package cli.
package main

import (
	"os"

	"github.com/orchd/orchd/cmd/orchd/cli"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/sysvc/worker"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == peer.WorkerCommand {
		os.Exit(worker.Main())
	}
	os.Exit(cli.Main())
}
