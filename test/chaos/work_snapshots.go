package chaos

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/orchd/orchd/api"
)

// workOnSnapshots is W6: snapshots are taken through any peer, listed, verified and
// downloaded from any other.
func (w *worker) workOnSnapshots(ctx context.Context) {
	for ctx.Err() == nil {
		w.snapshot()
		w.pause(ctx, 4*time.Second)
	}
}

func (w *worker) snapshot() {
	a, err := w.within(tryTime, w.anyone(), "POST", "/v1/snapshots", nil)
	if err != nil || a.Status != http.StatusCreated {
		if err == nil && a.Status != http.StatusServiceUnavailable {
			w.wonder("a snapshot was answered %d %.300s", a.Status, a.Body)
		}
		return
	}
	s, ok := decode[api.Snapshot](w.house, a)
	if !ok {
		return
	}
	for range 2 {
		at := w.anyone()
		shown, err := w.within(tryTime, at, "GET", "/v1/snapshots/"+s.ID, nil)
		if err != nil || shown.Status != http.StatusOK {
			continue // a peer that lags has not written it yet
		}
		if there, ok := decode[api.Snapshot](w.house, shown); ok && there.StateHash != s.StateHash {
			w.wonder("snapshot %s has state hash %s on %s, and was taken with %s", s.ID, there.StateHash, at.Name, s.StateHash)
		}
		if a, err := w.within(tryTime, at, "POST", "/v1/snapshots/"+s.ID+"/verify", nil); err == nil && a.Status != http.StatusOK && a.Status != http.StatusServiceUnavailable && a.Status != http.StatusNotFound {
			w.wonder("snapshot %s on %s is verified with %d %.300s", s.ID, at.Name, a.Status, a.Body)
		}
		if a, err := w.within(tryTime, at, "GET", fmt.Sprintf("/v1/snapshots/%s/vms.parquet", s.ID), nil); err == nil && a.Status == http.StatusOK && string(a.Body[:4]) != "PAR1" {
			w.wonder("vms.parquet of snapshot %s on %s is no parquet file", s.ID, at.Name)
		}
		w.snapshots.Add(1)
	}
}
