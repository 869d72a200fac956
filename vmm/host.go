package vmm

import (
	"context"
	"errors"
	"time"

	"github.com/orchd/orchd/api"
)

// silence is how long a hypervisor may take to answer before it counts as down.
const silence = 2 * time.Second

// Report is what the driver last said of itself, at most HostEvery old; while it
// has been asked and is silent, it is down. Figures that cannot be true are
// passed on as they came: whoever asked shows them for what they are.
func (l *Loop) Report() api.HostReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.host
	if r.Up && !l.asked.IsZero() && time.Since(l.asked) > silence {
		r.Up, r.Error = false, l.hv.Driver()+": no answer within "+silence.String()
	}
	return r
}

// watchHost asks the hypervisor whether it is there, and tells the cluster when
// the answer changes.
func (l *Loop) watchHost(ctx context.Context) {
	var told Host
	var trouble string
	tick := time.NewTicker(l.cfg.HostEvery)
	defer tick.Stop()
	for {
		now := l.askHost(ctx, told)
		l.logTrouble(trouble, now.Problem)
		trouble = now.Problem
		if now != told && ctx.Err() == nil {
			if err := l.tellHost(ctx, now); err != nil {
				l.log.Warn("host not reported", "err", err)
			} else {
				told = now
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askHost is the host as the cluster should know it: with the capacity that was
// told before while the hypervisor is silent or talks nonsense.
func (l *Loop) askHost(ctx context.Context, told Host) Host {
	l.ask(time.Now())
	info, err := l.hv.Host(ctx)
	capacity := l.cfg.overridden(info.Capacity)
	report := api.HostReport{Driver: l.hv.Driver(), Up: err == nil, Capacity: capacity}
	host := Host{Capacity: capacity, UUID: info.UUID}
	switch {
	case err != nil:
		report.Error, report.Capacity = err.Error(), told.Capacity
		host = Host{Capacity: told.Capacity, UUID: told.UUID, Problem: l.problem(err)}
	case !plausible(capacity):
		host = Host{Capacity: told.Capacity, UUID: told.UUID, Problem: l.hv.Driver() + ": says impossible figures"}
	}
	if l.remember(report) {
		l.poke() // it answers again: the loop may have waited for that
	}
	return host
}

func (l *Loop) ask(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = at
}

// remember keeps the report and tells whether the hypervisor came up with it.
func (l *Loop) remember(r api.HostReport) (cameUp bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cameUp = r.Up && !l.host.Up
	l.host, l.asked = r, time.Time{}
	return cameUp
}

// logTrouble logs when trouble begins, changes and ends.
func (l *Loop) logTrouble(before, now string) {
	switch {
	case before == now:
	case now == "":
		l.log.Info("hypervisor answers again", "driver", l.hv.Driver())
	default:
		l.log.Error("this host cannot run virtual machines", "problem", now, "err", l.Report().Error)
	}
}

func (l *Loop) tellHost(ctx context.Context, h Host) error {
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	return l.records.Host(ctx, h)
}

// problem is a failure in the words of the peer's row. They do not vary with the
// error's text, so that one trouble is written once.
func (l *Loop) problem(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return l.hv.Driver() + ": stuck"
	}
	return l.hv.Driver() + ": unreachable"
}

// plausible tells whether a host may be like this.
func plausible(r api.Resources) bool {
	const million = 1_000_000
	return r.VCPUs > 0 && r.VCPUs <= million && r.MemoryMiB > 0 && r.MemoryMiB <= million*million &&
		r.DiskGiB >= 0 && r.DiskGiB <= million*million
}
