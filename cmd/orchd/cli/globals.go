package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/cmd/orchd/config"
)

// globals are the flags that every command takes.
type globals struct {
	addr, tokenFile, cacert, clientCert, clientKey, context string
	config, dataDir                                         string
	output                                                  string
	noHeaders, quiet, verbose, local                        bool
}

// register puts the flags on the root; output is the format when nobody names one.
func (g *globals) register(root *cobra.Command, output string) {
	f := root.PersistentFlags()
	f.StringVar(&g.addr, "addr", "", "peers to ask, tried in turn: HOST:PORT,... or unix://PATH (ORCHD_ADDR)")
	f.StringVar(&g.tokenFile, "token-file", "", "file with the bearer token (ORCHD_TOKEN_FILE, or ORCHD_TOKEN itself)")
	f.StringVar(&g.cacert, "cacert", "", "the cluster's CA certificate (ORCHD_CACERT)")
	f.StringVar(&g.clientCert, "client-cert", "", "client certificate, instead of a token (ORCHD_CLIENT_CERT)")
	f.StringVar(&g.clientKey, "client-key", "", "its key (ORCHD_CLIENT_KEY)")
	f.StringVar(&g.context, "context", "", "which cluster of ~/.config/orchd/config.toml (ORCHD_CONTEXT)")
	f.StringVar(&g.config, "config", "", "configuration of the peer on this host (ORCHD_CONFIG; default "+config.DefaultFile+")")
	f.StringVar(&g.dataDir, "data-dir", "", "data folder of the peer on this host (default "+config.DefaultDataDir+")")
	f.StringVarP(&g.output, "output", "o", output, strings.Join(formats, ", ")+" (ORCHD_OUTPUT)")
	f.BoolVar(&g.noHeaders, "no-headers", false, "leave out the first line of a table or csv")
	f.BoolVar(&g.local, "local", false, "read what the asked peer has, also without quorum; it may be old")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "no progress, no hints")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "with errors, say which request it was")
}

// env is the value of a variable of the environment; empty when it is not set.
func (a *App) env(name string) string {
	for _, pair := range slices.Backward(a.Environ) {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
}
