// Orchd turns 1 to 100 Linux hosts into one place to run virtual machines.
// This package only starts the command line; see package cli.
package main

import (
	"os"

	"github.com/orchd/orchd/cmd/orchd/cli"
)

func main() { os.Exit(cli.Main()) }
