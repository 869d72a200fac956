package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/orchd/orchd/cmd/orchd/config"
)

// target is which cluster a client command talks to, and as whom.
type target struct {
	addrs           []string // HOST:PORT, https://..., unix://PATH
	token           string
	cacert          string // path
	clientCert, key string // paths
	from            string // who said so: "--addr", "ORCHD_ADDR", a file
	assumed         bool   // nobody said so
	named           bool   // it is a context that the command line names
}

// target finds the cluster: what the command line names, then the environment, then
// the profile, then the socket of the peer on this host. A context that the command line
// names comes with its own credential: the environment may hold that of another cluster.
func (a *App) target() (target, error) {
	t, err := a.address()
	if err != nil {
		return t, err
	}
	first := func(flag, variable, entry string) string {
		if t.named {
			return cmp.Or(flag, entry, a.env(variable))
		}
		return cmp.Or(flag, a.env(variable), entry)
	}
	t.cacert = cmp.Or(first(a.flags.cacert, "ORCHD_CACERT", t.cacert), a.localCA())
	t.clientCert = first(a.flags.clientCert, "ORCHD_CLIENT_CERT", t.clientCert)
	t.key = first(a.flags.clientKey, "ORCHD_CLIENT_KEY", t.key)
	if t.named && t.token != "" && a.flags.tokenFile == "" {
		return t, nil
	}
	token, err := a.credential()
	t.token = cmp.Or(token, t.token)
	return t, err
}

func (a *App) address() (t target, err error) {
	switch addr, dir := a.env("ORCHD_ADDR"), a.env("ORCHD_DATA_DIR"); {
	case a.flags.addr != "":
		return target{addrs: strings.Split(a.flags.addr, ","), from: "--addr"}, nil
	case a.flags.dataDir != "":
		return a.socketIn(a.flags.dataDir, "the data folder"), nil
	case a.flags.context != "":
		t, t.named, err = a.profile()
		return t, err
	case addr != "":
		return target{addrs: strings.Split(addr, ","), from: "ORCHD_ADDR"}, nil
	case dir != "":
		return a.socketIn(dir, "the data folder"), nil
	}
	t, found, err := a.profile()
	if err != nil || found {
		return t, err
	}
	return a.socketIn(a.dataDir(), "the peer on this host"), nil
}

func (a *App) socketIn(dir, from string) target {
	return target{addrs: []string{"unix://" + config.SocketPath(dir)}, from: from, assumed: true}
}

// dataDir is the data folder of the peer on this host.
func (a *App) dataDir() string {
	named := cmp.Or(a.flags.dataDir, a.env("ORCHD_DATA_DIR"))
	return cmp.Or(named, config.DataDir(config.Sources{File: a.flags.config, Environ: a.Environ}))
}

// localCA is the CA certificate that a peer on this host leaves readable for everybody.
func (a *App) localCA() string {
	path := filepath.Join(a.dataDir(), "tls", "ca.pem")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// credential is the credential of --token-file, ORCHD_TOKEN or ORCHD_TOKEN_FILE, in this order.
func (a *App) credential() (string, error) {
	if a.flags.tokenFile == "" && a.env("ORCHD_TOKEN") != "" {
		return a.env("ORCHD_TOKEN"), nil
	}
	return tokenIn(cmp.Or(a.flags.tokenFile, a.env("ORCHD_TOKEN_FILE")))
}

// tokenIn reads a token file; no path is no token.
func tokenIn(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
