package libvirt

import (
	"context"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/orchd/orchd/vmm"
)

const (
	statsWanted = golibvirt.DomainStatsCPUTotal | golibvirt.DomainStatsBalloon | golibvirt.DomainStatsInterface | golibvirt.DomainStatsBlock

	// A domain that is busy gives what it can without being waited for.
	statsOf = golibvirt.ConnectGetAllDomainsStatsActive | golibvirt.ConnectGetAllDomainsStatsNowait
)

// Stats asks for the counters of all domains at once.
func (d *Driver) Stats(ctx context.Context) ([]vmm.Stats, error) {
	return ask(ctx, d.questions, "stats", listLimit, func(rpc *golibvirt.Libvirt) ([]vmm.Stats, error) {
		records, err := rpc.ConnectGetAllDomainStats(nil, uint32(statsWanted), uint32(statsOf))
		if err != nil {
			return nil, err
		}
		var all []vmm.Stats
		for _, r := range records {
			ours, err := d.isOurs(rpc, r.Dom)
			if err != nil {
				return nil, err
			}
			if ours {
				all = append(all, statsIn(r))
			}
		}
		return all, nil
	})
}

// isOurs tells whether a domain carries this cluster's mark. One that is gone does not.
func (d *Driver) isOurs(rpc *golibvirt.Libvirt, dom golibvirt.Domain) (bool, error) {
	m, state, err := d.markOf(rpc, dom)
	return state == ours && m.mark.Cluster == d.cfg.Cluster, err
}

// statsIn adds up what libvirt says of one domain.
func statsIn(r golibvirt.DomainStatsRecord) vmm.Stats {
	s := vmm.Stats{UUID: uuid.UUID(r.Dom.UUID).String()}
	for _, p := range r.Params {
		n := count(p.Value.I)
		kind, rest, _ := strings.Cut(p.Field, ".")
		_, counter, _ := strings.Cut(rest, ".") // after the number of the device
		switch {
		case p.Field == "cpu.time":
			s.CPUSeconds = time.Duration(n).Seconds()
		case p.Field == "balloon.rss":
			s.MemoryBytes = n << 10
		case kind == "block" && counter == "rd.bytes":
			s.DiskReadBytes += n
		case kind == "block" && counter == "wr.bytes":
			s.DiskWriteBytes += n
		case kind == "net" && counter == "rx.bytes":
			s.NetReceiveBytes += n
		case kind == "net" && counter == "tx.bytes":
			s.NetSendBytes += n
		}
	}
	return s
}

// count reads a number of any of libvirt's types.
func count(v any) int64 {
	switch n := v.(type) {
	case int32:
		return int64(n)
	case uint32:
		return int64(n)
	case int64:
		return n
	case uint64:
		return int64(n)
	}
	return 0
}
