package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
	"github.com/orchd/orchd/cmd/orchd/peer"
	"github.com/orchd/orchd/fsm"
)

// thisPeer is the Daemon of the real program.
type thisPeer struct{}

func (thisPeer) Init(ctx context.Context, c config.Config, keys *api.KeyDocument, progress io.Writer, log *slog.Logger) error {
	files, err := c.Auth.Read()
	if err != nil {
		return &api.Error{Kind: api.Invalid, Msg: err.Error()}
	}
	for _, w := range files.Warnings {
		log.Warn("unwise configuration", "what", w)
	}
	if _, err := packages(c, log); err != nil {
		return err
	}
	p := peerConfig(c)
	p.Auth, p.Keys = authGiven(c, files), keys
	return peer.Init(ctx, p, progress, log)
}

func (thisPeer) Join(ctx context.Context, c config.Config, to Invitation, progress io.Writer, log *slog.Logger) error {
	if _, err := packages(c, log); err != nil {
		return err
	}
	p := peerConfig(c)
	p.TrustKey = to.TrustKey
	return peer.Join(ctx, p, to.Addr, to.Token, progress, log)
}

func (thisPeer) Serve(ctx context.Context, c config.Config, log *slog.Logger) error {
	files, err := c.Auth.Read()
	if err != nil { // the cluster has what was in them at init; here they would only be compared with that
		log.Warn("files of [auth] not compared with the cluster's settings", "err", err)
		c.Auth.JWTSecretFile, c.Auth.JWKSFile = "", ""
		delete(c.Given, "auth.jwt_secret_file")
		delete(c.Given, "auth.jwks_file")
	}
	p := peerConfig(c)
	if p.Packages, err = packages(c, log); err != nil {
		return err
	}
	for _, w := range config.ForeignVariables(os.Environ()) {
		log.Warn("a variable of another system", "what", w)
	}
	p.Auth = authGiven(c, files)
	return peer.Serve(ctx, p, log)
}

// authGiven is what the operator has said of the settings auth.*, defaults left out.
func authGiven(c config.Config, files config.AuthFiles) fsm.AuthChange {
	keys := files.JWKS
	if c.Auth.JWKSURL != "" {
		keys = c.Auth.JWKSURL
	}
	return fsm.AuthChange{
		JWTSecret:     given(c, files.JWTSecret, "auth.jwt_secret_file"),
		JWKS:          given(c, keys, "auth.jwks_file", "auth.jwks_url"),
		Issuer:        given(c, c.Auth.Issuer, "auth.issuer"),
		Audience:      given(c, c.Auth.Audience, "auth.audience"),
		AnonymousRead: given(c, c.Auth.AnonymousRead, "auth.anonymous_read"),
		SMDAnonymous:  given(c, c.Auth.SMDAnonymous, "auth.smd_anonymous"),
		JWTRole:       given(c, api.Role(c.Auth.JWTRole), "auth.jwt_role"),
	}
}

// given is a value that one of these keys sets; nil when none of them is set.
func given[T any](c config.Config, value T, keys ...string) *T {
	for _, key := range keys {
		if c.Given[key] {
			return &value
		}
	}
	return nil
}

// peerConfig says in a peer's words what the operator has set.
func peerConfig(c config.Config) peer.Config {
	allowed, _ := c.Images.Allowed() // both were validated with the rest
	ports, _ := c.Images.AllowedPorts()
	return peer.Config{
		Name:         c.Name,
		DataDir:      c.DataDir,
		Advertise:    c.Advertise,
		APIListen:    c.API.Listen,
		RaftListen:   c.Raft.Listen,
		GossipListen: c.Gossip.Listen,
		PlainListen:  c.API.PlainListen,
		BootListen:   c.Boot.Listen,

		Driver:     c.VMM.Driver,
		LibvirtURI: c.VMM.LibvirtURI,
		VirtType:   c.VMM.VirtType,
		Filter:     c.VMM.Filter,
		Capacity:   resources(c.VMM.Capacity),
		Reserve:    resources(c.VMM.Reserve),
		ImageMax:   int64(c.Images.MaxSize),
		ImageAllow: allowed,
		ImagePorts: ports,

		Ratios: api.Ratios{VCPUs: c.VMM.Overcommit.VCPUs, Memory: c.VMM.Overcommit.Memory, Disk: c.VMM.Overcommit.Disk},
		Labels: c.Labels,

		KeepDisabled:     c.SystemServices.KeepDisabled,
		StopOnFailure:    c.SystemServices.OnFailure == "stop",
		NameserverListen: c.Nameserver.Listen,
		NameserverDomain: c.Nameserver.Domain,

		RaftProfile:       c.Raft.Profile,
		Voters:            c.Voters,
		SnapshotThreshold: uint64(c.Raft.SnapshotThreshold),
		TrailingLogs:      uint64(c.Raft.TrailingLogs),
		BallastMiB:        c.Raft.BallastMiB,
		SnapshotInterval:  c.Snapshot.Interval,
		SnapshotRetain:    c.Snapshot.Retain,

		Now:     bent(c.Clock),
		Version: thisBuild().Version,
	}
}

// bent is a clock that is ahead and runs faster or slower; nil, the machine's
// own, when it is neither.
func bent(c config.Clock) func() time.Time {
	if c == (config.Clock{Rate: 1}) {
		return nil
	}
	began := time.Now()
	return func() time.Time {
		passed := time.Duration(float64(time.Since(began)) * c.Rate)
		return began.Round(0).Add(c.Offset + passed)
	}
}

// resources are amounts in the API's units.
func resources(c config.Capacity) api.Resources {
	return api.Resources{VCPUs: c.VCPUs, MemoryMiB: int64(c.Memory / config.MiB), DiskGiB: int64(c.Disk / config.GiB)}
}
