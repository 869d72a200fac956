package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set when a release is built: -ldflags "-X github.com/orchd/orchd/cmd/orchd/cli.release=1.2.3".
var release = "dev"

// build says which program this is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func thisBuild() build {
	b := build{Version: release, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
	}
	return b
}

func (a *App) version() *cobra.Command {
	return a.verb(verb{
		use:     "version",
		short:   "Which orchd this is",
		example: "orchd version\norchd version -o json",
		run: func(context.Context, []string) error {
			b := thisBuild()
			return a.object(b, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "orchd %s (%s, %s/%s) %s\n", b.Version, b.Go, b.OS, b.Arch, b.Commit)
				return err
			})
		},
	})
}
