package cli

import (
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

// Daemon is a peer on this host, as package peer makes it. What Init and Join
// write is for people.
type Daemon interface {
	// Init makes a cluster on disk, with this host as its first peer: with those keys, or,
	// for nil, with new ones.
	Init(context.Context, config.Config, *api.KeyDocument, io.Writer, *slog.Logger) error
	// Join enrols this host in the cluster that invites it.
	Join(context.Context, config.Config, Invitation, io.Writer, *slog.Logger) error
	// Serve runs an enrolled peer until ctx ends.
	Serve(context.Context, config.Config, *slog.Logger) error
}

// Invitation is where a host may become a peer, and with what.
type Invitation struct {
	Addr     string // of any peer
	Token    string
	TrustKey ed25519.PrivateKey // signs the request; nil: nothing does
}

// peerFlags are the flags of init, join and serve that set a key of the configuration.
func (a *App) peerFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("name", "", "name of this peer (default: the host's name)")
	f.String("advertise", "", "address under which the other peers reach this host (default: that of the default route)")
	f.String("api-listen", "", "where the HTTP API listens (default :7700)")
	f.String("raft-listen", "", "where peers agree (default :7701)")
	f.String("gossip-listen", "", "where peers gossip (default :7702)")
	f.String("driver", "", "what runs virtual machines: auto, libvirt, sim or none (default auto)")
	a.completeFlag(cmd, "driver", words([]string{"auto", "libvirt", "sim", "none"}))
	f.String("enable-system-services", "", "packages that this host runs: all, none, or names with commas (default those that come with orchd)")
}

func (a *App) initCluster() *cobra.Command {
	var noServe bool
	var keys, passphrase string
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:   "init",
		short: "Make a cluster with this host as its first peer, and serve",
		long: `Make a cluster with this host as its first peer, and serve.

--keys makes it with the keys of a cluster whose peers are all lost, from the copy that
orchd keys export made: it has that cluster's id and CA, so clients go on trusting it, reads
the secrets in its snapshots, and knows its virtual machines again (orchd recover). No peer
of that cluster may still run. To check a copy: orchd keys export --verify FILE.`,
		example: `
orchd init --name h1 --advertise 10.0.0.1
orchd init --no-serve && systemctl start orchd
orchd init --keys keys.age --passphrase-file passphrase`,
		run: func(ctx context.Context, _ []string) error {
			doc, err := a.keysToBeginWith(keys, passphrase)
			if err != nil {
				return err
			}
			l, log, err := a.prepare(cmd)
			if err != nil {
				return err
			}
			if err := a.Daemon.Init(ctx, l.Config, doc, a.Stderr, log); err != nil {
				return err
			}
			if err := a.writeProfile(l.DataDir); err != nil {
				log.Warn("profile not written; name the peer with --data-dir", "err", err)
			}
			if noServe {
				return nil
			}
			return a.runPeer(ctx, l, log)
		},
	})
	a.peerFlags(cmd)
	cmd.Flags().BoolVar(&noServe, "no-serve", false, "make the cluster and stop there")
	cmd.Flags().StringVar(&keys, "keys", "", "copy of the keys of a cluster that is lost (orchd keys export)")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "file with the passphrase of that copy; - for stdin")
	cmd.MarkFlagsRequiredTogether("keys", "passphrase-file")
	return cmd
}

// keysToBeginWith are the keys in a copy; nil without one.
func (a *App) keysToBeginWith(file, passphrase string) (*api.KeyDocument, error) {
	if file == "" {
		return nil, nil
	}
	secret, err := a.passphraseIn(passphrase)
	if err != nil {
		return nil, err
	}
	doc, err := copiedKeys(file, secret, "nothing was made; try another copy, or make a cluster with new keys: orchd init")
	return &doc, err
}

func (a *App) join() *cobra.Command {
	var token, keyFile string
	var noServe, adopt bool
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:   "join ADDR",
		short: "Make this host a peer of the cluster that ADDR belongs to, and serve",
		example: `
orchd join 10.0.0.1 --token-file ./token --name h2
orchd join 10.0.0.1:7700 --token ID.SECRET.CAHASH --trust-key /root/trust.key
orchd join 10.0.0.1:7700 --token ID.SECRET.CAHASH --adopt     # what runs here becomes virtual machines`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error {
			if token == "" {
				var err error
				if token, err = a.credential(); err != nil {
					return err
				}
			}
			if token == "" {
				return &failure{exitUsage, "no token", "on a peer: orchd token create --role peer    (prints what to run here)"}
			}
			key, err := a.trustKeyIn(keyFile)
			if err != nil {
				return err
			}
			l, log, err := a.prepare(cmd)
			if err != nil {
				return err
			}
			if err := a.Daemon.Join(ctx, l.Config, Invitation{args[0], token, key}, a.Stderr, log); err != nil {
				return err
			}
			switch {
			case noServe:
				return nil
			case adopt:
				return a.runPeer(ctx, l, log, a.adoptAll)
			}
			return a.runPeer(ctx, l, log)
		},
	})
	a.peerFlags(cmd)
	cmd.Flags().StringVar(&token, "token", "", "what orchd token create --role peer printed (also --token-file, ORCHD_TOKEN)")
	trustKeyFlag(cmd, &keyFile, "signs the request, where the cluster asks for that (orchd settings show: trust.join_weight)")
	cmd.Flags().BoolVar(&noServe, "no-serve", false, "enrol and stop there")
	cmd.Flags().BoolVar(&adopt, "adopt", false, "then make virtual machines of the libvirt domains that run here, without a restart")
	cmd.MarkFlagsMutuallyExclusive("no-serve", "adopt")
	return cmd
}

func (a *App) serve() *cobra.Command {
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:     "serve",
		short:   "Run the peer that init or join made on this host, until SIGTERM",
		example: "orchd serve\norchd serve --config ./orchd.toml\nORCHD_LOG__LEVEL=debug orchd serve",
		run: func(ctx context.Context, _ []string) error {
			l, log, err := a.prepare(cmd)
			if err != nil {
				return err
			}
			return a.runPeer(ctx, l, log)
		},
	})
	a.peerFlags(cmd)
	return cmd
}

// prepare reads the configuration and makes the logger that it asks for.
func (a *App) prepare(cmd *cobra.Command) (config.Loaded, *slog.Logger, error) {
	l, err := a.load(cmd)
	if err != nil {
		return l, nil, err
	}
	return l, logger(a.Stderr, l.Log), nil
}

// runPeer runs the peer and tells systemd, if it is there, when the peer is ready and
// when it stops; beside says what else is to be done while it runs.
func (a *App) runPeer(ctx context.Context, l config.Loaded, log *slog.Logger, beside ...func(context.Context, config.Loaded, *slog.Logger)) error {
	ctx, stop := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stop()
		return a.Daemon.Serve(ctx, l.Config, log)
	})
	g.Go(func() error {
		a.announce(ctx, l, log)
		return nil
	})
	for _, do := range beside {
		g.Go(func() error {
			do(ctx, l, log)
			return nil
		})
	}
	return g.Wait()
}

// announce waits until the peer is ready and says so.
func (a *App) announce(ctx context.Context, l config.Loaded, log *slog.Logger) {
	began := time.Now()
	if err := a.untilReady(ctx, l.DataDir); err != nil {
		return
	}
	log.Info("ready", "peer", l.Name, "took", time.Since(began))
	a.notify(log, daemon.SdNotifyReady)
	<-ctx.Done()
	a.notify(log, daemon.SdNotifyStopping)
}

func (a *App) notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd not notified", "err", err)
	}
}

// untilReady asks the peer of a data folder until it is ready to serve.
func (a *App) untilReady(ctx context.Context, dataDir string) error {
	c, err := a.connect(a.socketIn(dataDir, "the peer on this host"))
	if err != nil {
		return err
	}
	defer c.api.Close()
	for {
		if _, err := c.api.Raw(ctx, http.MethodGet, "/readyz", nil); err == nil {
			return nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}
