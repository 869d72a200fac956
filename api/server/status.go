package server

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"

	"github.com/orchd/orchd/api"
)

type statusInput struct {
	Freshness
}

// status shows the cluster as this peer sees it. It is always local: it is what
// one asks when there is no quorum.
func (s *Server) status(ctx context.Context, _ *statusInput) (*Reply[api.Status], error) {
	st, err := s.backend.Status(ctx)
	if err != nil {
		return nil, err
	}
	st.Peers = append([]api.PeerView{}, st.Peers...)
	st.Warnings = append([]api.Warning{}, st.Warnings...)
	if st.VMs == nil {
		st.VMs = map[string]int{}
	}
	if actorOf(ctx).Account != "" {
		if err := s.narrow(ctx, &st); err != nil {
			return nil, err
		}
	}
	return &Reply[api.Status]{Status: http.StatusOK, Head: Head{Index: new(st.AppliedIndex), AgeMs: new(st.AgeMs)}, Body: st}, nil
}

// narrow leaves those VMs in a status that the caller, who is bound to an account, may see.
func (s *Server) narrow(ctx context.Context, st *api.Status) error {
	v, err := s.backend.View(ctx, api.Local)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	st.VMs = map[string]int{}
	for vm := range v.VMs("") {
		if maySee(ctx, "vm", vm.Account) {
			seen[vm.ID] = true
			st.VMs[string(vm.Status.State)]++
		}
	}
	st.Warnings = slices.DeleteFunc(st.Warnings, func(w api.Warning) bool { return w.VM != "" && !seen[w.VM] })
	return nil
}

type capacityInput struct {
	VCPUs       int64           `query:"vcpus" minimum:"0" maximum:"1024" default:"0" doc:"Virtual CPUs"`
	MemoryMiB   int64           `query:"memory_mib" minimum:"0" maximum:"67108864" default:"0" doc:"Memory in MiB"`
	DiskGiB     int64           `query:"disk_gib" minimum:"0" maximum:"1048576" default:"0" doc:"Disk in GiB"`
	Consistency api.Consistency `query:"consistency" enum:"linearizable,local" doc:"linearizable: 503 without quorum; when nothing is said, the answer is then local and carries Orchd-Age-Ms"`
}

func (s *Server) capacity(ctx context.Context, in *capacityInput) (*Reply[api.Capacity], error) {
	c, age, err := s.backend.Capacity(ctx, api.Resources{VCPUs: in.VCPUs, MemoryMiB: in.MemoryMiB, DiskGiB: in.DiskGiB})
	if err != nil {
		return nil, err
	}
	if age != 0 && in.Consistency == api.Linearizable {
		return nil, &api.Error{Kind: api.Unavailable, Op: "capacity", Msg: "there is no quorum just now; ask with consistency=local"}
	}
	c.Hosts = append([]api.HostCapacity{}, c.Hosts...)
	out := &Reply[api.Capacity]{Status: http.StatusOK, Body: c}
	if age != 0 || in.Consistency == api.Local {
		out.AgeMs = &age
	}
	return out, nil
}

// Health is the answer of /healthz and /readyz.
type Health struct {
	Status string `json:"status" enum:"live,ready"`
	// Failed does not keep a peer from serving. Why is for those who may read: orchd package list.
	Failed []string `json:"failed_packages,omitempty" doc:"Packages of system services that this peer could not deploy, and tries again"`
}

func (s *Server) healthz(context.Context, *struct{}) (*Reply[Health], error) {
	return &Reply[Health]{Status: http.StatusOK, Body: Health{Status: "live"}}, nil
}

func (s *Server) readyz(context.Context, *struct{}) (*Reply[Health], error) {
	err := s.backend.Ready()
	var known *api.Error
	switch {
	case err == nil:
		return &Reply[Health]{Status: http.StatusOK, Body: Health{"ready", s.backend.FailedPackages()}}, nil
	case errors.As(err, &known):
		return nil, &api.Error{Kind: api.Unavailable, Op: "ready", Msg: known.Msg, Err: err}
	}
	return nil, &api.Error{Kind: api.Unavailable, Op: "ready", Msg: err.Error()}
}

// Version is the software of a peer.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go" doc:"Version of Go that built it"`
}

func (s *Server) version(context.Context, *struct{}) (*Reply[Version], error) {
	return &Reply[Version]{Status: http.StatusOK, Body: Version{s.cfg.Version, runtime.Version()}}, nil
}
