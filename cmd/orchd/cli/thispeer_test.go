package cli

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

func TestPeerConfig(t *testing.T) {
	c := config.Default()
	c.Name, c.DataDir, c.VMM.Capacity = "h1", "/srv/o", config.Capacity{VCPUs: 4, Memory: 8 * config.GiB, Disk: 100 * config.GiB}
	got := peerConfig(c)
	if want := (api.Resources{VCPUs: 4, MemoryMiB: 8192, DiskGiB: 100}); got.Capacity != want {
		t.Errorf("capacity: got %+v, want %+v", got.Capacity, want)
	}
	if got.Name != "h1" || got.DataDir != "/srv/o" || got.APIListen != ":7700" || got.RaftProfile != "lan" || got.Voters != 3 ||
		got.SnapshotInterval != time.Hour || got.TrailingLogs != 10240 || got.Ratios.Memory != 100 || got.Version == "" {
		t.Errorf("got %+v", got)
	}
	if got.Now != nil {
		t.Error("a clock that nobody bent is not the machine's own")
	}
}

func TestBentClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		clock := bent(config.Clock{Offset: time.Hour, Rate: 2})
		time.Sleep(10 * time.Second) // fake time
		if got := clock().Sub(began.Round(0)); got != time.Hour+20*time.Second {
			t.Errorf("after 10 s an hour ahead at double rate: got %s", got)
		}
	})
}
