package peer

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector gives Prometheus what the tables and the node know. The series of
// the whole cluster come from the leader alone, so that a sum counts them once.
type collector struct{ *Peer }

var (
	vmsDesc      = prometheus.NewDesc("orchd_vms", "Virtual machines by state; from the leader.", []string{"state"}, nil)
	peerUpDesc   = prometheus.NewDesc("orchd_peer_up", "1 while the leader hears the peer; from the leader.", []string{"peer"}, nil)
	leaderDesc   = prometheus.NewDesc("orchd_raft_leader", "1 on the leader.", nil, nil)
	termDesc     = prometheus.NewDesc("orchd_raft_term", "Current raft term.", nil, nil)
	commitDesc   = prometheus.NewDesc("orchd_raft_commit_index", "Highest log index known to be committed.", nil, nil)
	appliedDesc  = prometheus.NewDesc("orchd_raft_applied_index", "Log index of the last command applied.", nil, nil)
	ageDesc      = prometheus.NewDesc("orchd_state_age_seconds", "Seconds since this peer knew that its tables are current.", nil, nil)
	reservedDesc = prometheus.NewDesc("orchd_host_vcpus", "This host's vCPUs.", []string{"kind"}, nil)
	memoryDesc   = prometheus.NewDesc("orchd_host_memory_bytes", "This host's memory.", []string{"kind"}, nil)
	vmCPUDesc    = vmSeries("cpu_seconds_total", "Processor time that its QEMU has used since it was switched on.")
	vmMemoryDesc = vmSeries("memory_bytes", "Memory that its QEMU holds.")
	vmReadDesc   = vmSeries("disk_read_bytes_total", "Read from its disks since it was switched on.")
	vmWriteDesc  = vmSeries("disk_write_bytes_total", "Written to its disks since it was switched on.")
	vmRecvDesc   = vmSeries("net_receive_bytes_total", "Received by its interface since it was switched on.")
	vmSendDesc   = vmSeries("net_send_bytes_total", "Sent by its interface since it was switched on.")
	buildDesc    = prometheus.NewDesc("orchd_build_info", "Always 1; what runs here.", []string{"version"}, nil)
)

// Describe names the series.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{vmsDesc, peerUpDesc, leaderDesc, termDesc, commitDesc, appliedDesc, ageDesc, reservedDesc, memoryDesc, buildDesc, deploymentDesc,
		vmCPUDesc, vmMemoryDesc, vmReadDesc, vmWriteDesc, vmRecvDesc, vmSendDesc} {
		out <- d
	}
}

// vmSeries is a series of each VM that runs on this host.
func vmSeries(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("orchd_vm_"+name, help, []string{"vm", "account"}, nil)
}

// statsTime is how long the hypervisor may take to tell its counters.
const statsTime = 5 * time.Second

// collectVMs gives the counters of the guests of this host.
func (c collector) collectVMs(out chan<- prometheus.Metric) {
	if c.loop == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), statsTime)
	defer cancel()
	guests, err := c.loop.Stats(ctx)
	if err != nil {
		c.log.Warn("counters of guests not read", "err", err)
		return
	}
	for _, g := range guests {
		for _, s := range []struct {
			desc  *prometheus.Desc
			kind  prometheus.ValueType
			value float64
		}{
			{vmCPUDesc, prometheus.CounterValue, g.CPUSeconds},
			{vmMemoryDesc, prometheus.GaugeValue, float64(g.MemoryBytes)},
			{vmReadDesc, prometheus.CounterValue, float64(g.DiskReadBytes)},
			{vmWriteDesc, prometheus.CounterValue, float64(g.DiskWriteBytes)},
			{vmRecvDesc, prometheus.CounterValue, float64(g.NetReceiveBytes)},
			{vmSendDesc, prometheus.CounterValue, float64(g.NetSendBytes)},
		} {
			out <- prometheus.MustNewConstMetric(s.desc, s.kind, s.value, g.Name, g.Account)
		}
	}
}

// Collect reads them off one state.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now, stats := c.machine.Read(), c.node.Stats()
	c.collectVMs(out)
	c.collectPackages(out)
	gauge(buildDesc, 1, c.cfg.Version)
	gauge(termDesc, float64(stats.Term))
	gauge(commitDesc, float64(stats.CommitIndex))
	gauge(appliedDesc, float64(now.Index()))
	gauge(ageDesc, c.node.Age().Seconds())
	if me, ok := now.Peer(c.identity.PeerID); ok {
		reserved, _ := now.Reserved(me.ID)
		gauge(reservedDesc, float64(me.Capacity.VCPUs), "total")
		gauge(reservedDesc, float64(reserved.VCPUs), "reserved")
		gauge(memoryDesc, float64(me.Capacity.MemoryMiB<<20), "total")
		gauge(memoryDesc, float64(reserved.MemoryMiB<<20), "reserved")
	}
	if !c.node.IsLeader() {
		gauge(leaderDesc, 0)
		return
	}
	gauge(leaderDesc, 1)
	s := c.look(now)
	for p := range now.Members() {
		up := 1.0
		if _, silent := s.silent[p.ID]; silent {
			up = 0
		}
		gauge(peerUpDesc, up, p.Name)
	}
	states := map[string]int{}
	v := view{Reader: now, peer: c.Peer, sight: s}
	for vm := range v.VMs("") {
		states[string(vm.Status.State)]++
	}
	for state, n := range states {
		gauge(vmsDesc, float64(n), state)
	}
}
