package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/nearest"
)

// maxSocketPath is how long the path of a unix socket may be; the kernel takes
// 107 bytes (unix(7)), and what cannot be bound should be said before.
const maxSocketPath = 100

// SocketPath is where a peer with this data folder answers its own host's root.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, "orchd.sock") }

// Validate reports everything that is wrong, one error a line.
func (c Config) Validate() error {
	return errors.Join(
		c.validName(), c.validDataDir(), c.validAdvertise(), c.validPorts(),
		oneOf("raft.profile", c.Raft.Profile, "lan", "wan"),
		oneOf("vmm.driver", c.VMM.Driver, "auto", api.DriverLibvirt, api.DriverSim, api.DriverNone),
		oneOf("vmm.virt_type", c.VMM.VirtType, "auto", "kvm", "qemu"),
		oneOf("vmm.filter", c.VMM.Filter, "auto", "on", "off"),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "auto", "text", "json"),
		oneOf("voters", strconv.Itoa(c.Voters), "1", "3", "5"),
		c.VMM.Capacity.valid("vmm.capacity"), c.VMM.Reserve.valid("vmm.reserve"), c.VMM.Overcommit.valid(), c.Images.valid(), c.Auth.valid(), c.validPlainListen(),
		c.SystemServices.valid(),
		atLeast("raft.snapshot_threshold", int64(c.Raft.SnapshotThreshold), 1),
		atLeast("raft.trailing_logs", int64(c.Raft.TrailingLogs), 1),
		atLeast("raft.ballast_mib", int64(c.Raft.BallastMiB), 0),
		atLeast("snapshot.interval", int64(c.Snapshot.Interval), 0),
		atLeast("snapshot.retain", int64(c.Snapshot.Retain), 1),
	)
}

func (c Config) validName() error {
	if !api.ValidName(c.Name) {
		return fmt.Errorf("name: %q cannot name a peer; use 1 to 63 of a-z, 0-9 and -, not beginning with -", c.Name)
	}
	return nil
}

func (c Config) validDataDir() error {
	if !filepath.IsAbs(c.DataDir) {
		return fmt.Errorf("data_dir: %q is not an absolute path", c.DataDir)
	}
	if path := SocketPath(c.DataDir); len(path) > maxSocketPath {
		return fmt.Errorf("data_dir: the socket's path %s has %d bytes and the kernel takes about %d; use a shorter folder", path, len(path), maxSocketPath)
	}
	return nil
}

func (c Config) validAdvertise() error {
	ip := net.ParseIP(c.Advertise)
	switch {
	case c.Advertise == "":
		return errors.New("advertise: this host has no default route to guess its address from; set advertise to the address under which the other peers reach it")
	case ip != nil && ip.IsUnspecified():
		return fmt.Errorf("advertise: %s is every address and none; name the one under which the other peers reach this host", c.Advertise)
	case ip == nil && strings.ContainsAny(c.Advertise, ":/ []"):
		return fmt.Errorf("advertise: %q is neither an IP address nor a host name (it has no port)", c.Advertise)
	}
	return nil
}

// validPorts looks at the places to listen. Gossip and the others would not
// clash (it has its own UDP port), but it also listens on TCP.
func (c Config) validPorts() error {
	var errs []error
	seen := map[string]string{}
	for _, l := range []struct {
		path, addr string
		optional   bool
	}{
		{"api.listen", c.API.Listen, false}, {"raft.listen", c.Raft.Listen, false}, {"gossip.listen", c.Gossip.Listen, false},
		{"api.plain_listen", c.API.PlainListen, true}, {"boot.listen", c.Boot.Listen, true}, {"nameserver.listen", c.Nameserver.Listen, true},
	} {
		if l.optional && l.addr == "" {
			continue
		}
		host, port, err := net.SplitHostPort(l.addr)
		n, bad := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || bad != nil || n == 0:
			errs = append(errs, fmt.Errorf("%s: %q is not HOST:PORT or :PORT with a port of 1 to 65535", l.path, l.addr))
		case seen[host+port] != "":
			errs = append(errs, fmt.Errorf("%s: %s listens on %s too; give each its own port", l.path, seen[host+port], l.addr))
		}
		seen[host+port] = l.path
	}
	return errors.Join(errs...)
}

// validPlainListen keeps what is not encrypted on this host.
func (c Config) validPlainListen() error {
	host, _, err := net.SplitHostPort(c.API.PlainListen)
	if ip := net.ParseIP(host); c.API.PlainListen == "" || err != nil || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("api.plain_listen: %q is not a loopback address such as 127.0.0.1:27779; tokens and answers pass there in clear, so it may not be reached from other hosts", c.API.PlainListen)
}

func (c Capacity) valid(table string) error {
	_, noMiB := c.Memory.Whole(MiB)
	_, noGiB := c.Disk.Whole(GiB)
	return errors.Join(
		atLeast(table+".vcpus", c.VCPUs, 0),
		at(table+".memory", noMiB),
		at(table+".disk", noGiB),
	)
}

func (i Images) valid() error {
	_, badAllow := i.Allowed()
	_, badPorts := i.AllowedPorts()
	return errors.Join(atLeast("images.max_size", int64(i.MaxSize), 1), at("images.allow", badAllow), at("images.ports", badPorts))
}

// AllowedPorts are the ports of Ports.
func (i Images) AllowedPorts() (ports []uint16, err error) {
	for _, text := range strings.Split(i.Ports, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is no port of 1 to 65535", text)
		}
		ports = append(ports, uint16(n))
	}
	return ports, nil
}

// Allowed are the address ranges of Allow.
func (i Images) Allowed() (ranges []netip.Prefix, err error) {
	for _, text := range strings.Split(i.Allow, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no address range such as 10.0.0.0/8", text)
		}
		ranges = append(ranges, prefix.Masked())
	}
	return ranges, nil
}

func (o Overcommit) valid() error {
	return errors.Join(
		percent("vmm.overcommit.vcpus_percent", o.VCPUs),
		percent("vmm.overcommit.memory_percent", o.Memory),
		percent("vmm.overcommit.disk_percent", o.Disk),
	)
}

func percent(path string, n int64) error {
	if n < 1 || n > 10000 {
		return fmt.Errorf("%s: %d is not between 1 and 10000", path, n)
	}
	return nil
}

func atLeast(path string, n, least int64) error {
	if n < least {
		return fmt.Errorf("%s: is less than %d", path, least)
	}
	return nil
}

func oneOf(path, got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	hint := ""
	if near := nearest.Of(got, allowed); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Errorf("%s: %q is none of %s%s", path, got, strings.Join(allowed, ", "), hint)
}

// at says where err is; nil stays nil.
func at(place string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", place, err)
}
