package onehost

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/lab"
)

// BenchmarkThousandSpells lets 1,000 spells tick every second for a minute on one peer
// and tells how late the runs began, over all that were seen, and how many ticks each
// spell ran of those that came.
func BenchmarkThousandSpells(b *testing.B) {
	c := Start(b, 1, withPackages(b, []string{"none"}))
	client, p := c.AnyClient(), c.Peers[0]
	for i := range 1000 {
		if _, err := client.CreateSpell(b.Context(), api.SpellCreate{Alias: fmt.Sprintf("s%d", i), Script: "def run():\n    log(\"tick\", spell.counter)\n",
			Trigger: api.Trigger{Clock: api.Clock{StartSec: 1, PeriodSec: 1}}}); err != nil {
			b.Fatal(err)
		}
	}
	counters := func() (n int64) {
		r := p.Running.Machine().Read()
		for s := range r.Spells() {
			n += r.SpellStatus(s.ID).Counter
		}
		return n
	}
	for range b.N {
		before, began := counters(), time.Now()
		var late []float64
		for time.Since(began) < time.Minute {
			time.Sleep(250 * time.Millisecond)
			r := p.Running.Machine().Read()
			for s := range r.Spells() {
				if last := r.SpellStatus(s.ID).Last; last.State == api.RunSucceeded {
					late = append(late, last.EndedAt.Sub(last.Firing.Due).Seconds()*1e3, last.BeganAt.Sub(last.Firing.Due).Seconds()*1e3)
				} else if last.Number > 0 {
					late = append(late, last.BeganAt.Sub(last.Firing.Due).Seconds()*1e3)
				}
			}
		}
		slices.Sort(late)
		b.ReportMetric(late[len(late)*99/100], "p99-ms-late")
		b.ReportMetric(late[len(late)-1], "max-ms-late")
		b.ReportMetric(float64(counters()-before)/time.Since(began).Seconds(), "runs/s")
	}
	var failed int64
	r := p.Running.Machine().Read()
	for s := range r.Spells() {
		failed += r.SpellStatus(s.ID).Failed
	}
	b.ReportMetric(float64(failed), "failed")
}

// BenchmarkServiceCall calls a function of the registry through the API of a peer.
func BenchmarkServiceCall(b *testing.B) {
	c := Start(b, 3, withPackages(b, []string{"registry"}))
	deployed(b, c)
	client := c.Peers[0].Client()
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		began := time.Now()
		if _, err := client.CallService(b.Context(), "registry", "lookup", json.RawMessage(`{"name":"db"}`)); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkDeployment tells how long it takes from the start of a peer until the four
// packages that come with orchd are there, the first time and when they are there already.
func BenchmarkDeployment(b *testing.B) {
	for b.Loop() {
		c := Start(b, 1, withPackages(b, []string{"all"}))
		began := time.Now()
		deployed(b, c)
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "first-ms")
		p := c.Peers[0]
		p.Stop()
		began = time.Now()
		p.Start()
		p.WaitReady()
		lab.Eventually(b, time.Minute, func() error { deployed(b, c); return nil })
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "again-ms")
		p.Stop()
	}
}
