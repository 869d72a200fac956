package peer

import "github.com/prometheus/client_golang/prometheus"

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
	buildDesc    = prometheus.NewDesc("orchd_build_info", "Always 1; what runs here.", []string{"version"}, nil)
)

// Describe names the series.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{vmsDesc, peerUpDesc, leaderDesc, termDesc, commitDesc, appliedDesc, ageDesc, reservedDesc, memoryDesc, buildDesc} {
		out <- d
	}
}

// Collect reads them off one state.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now, stats := c.machine.Read(), c.node.Stats()
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
