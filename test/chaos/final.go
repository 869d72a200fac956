package chaos

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/ask"
	"github.com/orchd/orchd/test/history"
	"github.com/orchd/orchd/test/lab"
)

// finish ends the clients, lets the cluster come to rest, and judges the run.
func (r *run) finish() {
	r.t.Helper()
	r.mend()
	r.wrong(r.allReady(endLimit))
	r.ended()
	r.work.Wait()
	r.worked = time.Since(r.began)
	ops := r.recorder.Operations()
	if err := history.Save(filepath.Join(r.kept, "history"), ops); err != nil {
		r.t.Error(err)
	}
	if r.watch != nil {
		r.watch.done.Wait()
		r.wrong(r.settledGuests())
		r.wrong(r.watch.judge())
	}
	at, hash, err := r.agree()
	r.wrong(err)
	if len(r.followers) > 0 {
		r.wrong(r.followed())
	}
	r.wrong(r.sameFiles())
	for _, h := range r.members() {
		h.Stop()
	}
	s, err := r.judge(ops, at, hash)
	r.wrong(err)
	for _, h := range r.Hosts() {
		r.wrong(cleanLog(h.Name, h.Log()))
		r.wrong(sealed(h.Name, h.DataDir()))
	}
	for _, text := range r.strange {
		r.wrong(errors.New("strange: " + text))
	}
	r.wrong(r.void(s))
	line := r.summary(s)
	r.say("%s", line)
	fmt.Println("result: " + line)
	if len(r.errs) > 0 {
		r.t.Error(errors.Join(r.errs...))
	}
}

// agree waits until all peers have the same state at the same index.
func (r *run) agree() (at uint64, hash string, err error) {
	for deadline := time.Now().Add(endLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var all []api.Status
		err = nil
		for _, h := range r.members() {
			st, failed := r.status(h)
			err = errors.Join(err, failed)
			all = append(all, st)
		}
		for _, st := range all {
			if err == nil && st.AppliedIndex != all[0].AppliedIndex {
				err = fmt.Errorf("%s is at index %d, %s at %d", all[0].Peer, all[0].AppliedIndex, st.Peer, st.AppliedIndex)
			}
		}
		if err != nil {
			continue
		}
		for _, st := range all {
			if st.StateHash != all[0].StateHash {
				return 0, "", fmt.Errorf("replicas differ: at index %d the state hash of %s is %s, that of %s is %s",
					st.AppliedIndex, all[0].Peer, all[0].StateHash, st.Peer, st.StateHash)
			}
		}
		return all[0].AppliedIndex, all[0].StateHash, nil
	}
	return 0, "", fmt.Errorf("no agreement %v after everything was healed: %w", endLimit, err)
}

// judge applies the log again and holds the history against it.
func (r *run) judge(ops []history.Operation, at uint64, hash string) (history.Summary, error) {
	log, err := r.wholeLog()
	if err != nil {
		return history.Summary{}, err
	}
	whole, err := replay(log, at)
	if err != nil {
		return history.Summary{}, err
	}
	if at != 0 && whole.hashes[at] != hash {
		err = fmt.Errorf("the log gives state hash %s at index %d, the peers have %s", whole.hashes[at], at, hash)
	}
	s, faults := history.Check(ops, whole.log, r.kept)
	for _, f := range r.followers {
		err = errors.Join(err, f.judge(whole.log))
	}
	return s, errors.Join(err, faults)
}

// followed makes a last change, waits until those who follow the events have seen it,
// and ends them.
func (r *run) followed() (err error) {
	last := r.must(http.StatusOK, "PATCH", "/ComputeNode/"+probeNode, `{"description":"the last change"}`)
	index, err := strconv.ParseUint(last.Header.Get("Orchd-Index"), 10, 64)
	if err != nil {
		return fmt.Errorf("the last change has no index: %w", err)
	}
	for deadline := time.Now().Add(endLimit); ; time.Sleep(20 * time.Millisecond) {
		err = nil
		for i, f := range r.followers {
			if at := f.at(); at.Index < index {
				err = fmt.Errorf("%v after everything was healed follower %d of the events is at %s, the last change was made at %d", endLimit, i, at, index)
			}
		}
		if err == nil || time.Now().After(deadline) {
			break
		}
	}
	for _, stop := range r.unfollow {
		stop()
	}
	r.following.Wait()
	return err
}

// sameFiles takes a snapshot, which must be the same, byte for byte, on all peers,
// and which orchd itself must find whole.
func (r *run) sameFiles() error {
	s := ask.Decode[api.Snapshot](r.t, r.must(http.StatusCreated, "POST", "/v1/snapshots", nil))
	var first map[string]string
	var errs []error
	for _, h := range r.members() {
		lab.Eventually(r.t, endLimit, func() error {
			a, err := r.within(5*time.Second, h, "POST", "/v1/snapshots/"+s.ID+"/verify", nil)
			if err == nil && a.Status != http.StatusOK {
				err = fmt.Errorf("snapshot %s on %s: %d %s", s.ID, h.Name, a.Status, a.Body)
			}
			return err
		})
		if out, err := h.Output("orchd", "snapshot", "verify", s.ID); err != nil {
			errs = append(errs, fmt.Errorf("%w: %s", err, out))
		}
		sums, err := sumsOf(filepath.Join(h.DataDir(), "snapshots", fmt.Sprintf("index=%015d", s.Index)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if first == nil {
			first = sums
		}
		for name, sum := range sums {
			if first[name] != sum {
				errs = append(errs, fmt.Errorf("%s of snapshot %s differs between %s and %s", name, s.ID, h.Name, r.members()[0].Name))
			}
		}
		if len(sums) != len(first) || len(sums) < 10 {
			errs = append(errs, fmt.Errorf("snapshot %s has %d files on %s and %d on %s", s.ID, len(sums), h.Name, len(first), r.members()[0].Name))
		}
	}
	return errors.Join(errs...)
}

// sumsOf are the sums of the parquet files below a folder, by name.
func sumsOf(dir string) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".parquet" {
			return err
		}
		text, err := os.ReadFile(path)
		sums[strings.TrimPrefix(path, dir)] = fmt.Sprintf("%x", sha256.Sum256(text))
		return err
	})
	return sums, err
}

// sealed looks for secrets in clear in the files of a stopped peer.
func sealed(name, dataDir string) error {
	files := 0
	err := filepath.WalkDir(dataDir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && path == filepath.Join(dataDir, "disks") {
			return filepath.SkipDir // the seed of a guest has its user data for the guest to read
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte("canary-7b2f")) {
			err = fmt.Errorf("%s holds a secret in clear", path)
		}
		return err
	})
	if err == nil && files < 5 {
		err = fmt.Errorf("only %d files of %s were looked at", files, name)
	}
	return err
}

// panicLine is how a Go program says that it fell over.
var panicLine = regexp.MustCompile(`(?m)^(panic: |fatal error: |goroutine \d+ \[running\]|SIG[A-Z]+: |.*(handler|machine) panicked).*$`)

// cleanLog looks for what no log may hold: panics, and secrets.
func cleanLog(name, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var errs []error
	if lines := panicLine.FindAllString(string(text), 3); len(lines) > 0 {
		errs = append(errs, fmt.Errorf("%s fell over: %s", name, strings.Join(lines, " | ")))
	}
	if strings.Contains(string(text), "canary-7b2f") {
		errs = append(errs, fmt.Errorf("the log of %s holds a secret", name))
	}
	return errors.Join(errs...)
}

// void tells why a run shows nothing.
func (r *run) void(s history.Summary) error {
	var why []error
	if persec := float64(s.OK) / r.worked.Seconds(); persec < leastPerSec {
		why = append(why, fmt.Errorf("only %.1f operations a second were acknowledged, at least %d are needed", persec, leastPerSec))
	}
	total := 0
	for _, n := range r.effective {
		total += n
	}
	if least := int(leastFaults * r.worked.Minutes()); total < max(1, least) {
		why = append(why, fmt.Errorf("only %d faults took effect, at least %d are needed", total, max(1, least)))
	}
	if r.watch == nil && r.worked > time.Minute && r.snapshots.Load() == 0 {
		why = append(why, errors.New("no snapshot was looked at"))
	}
	if s.Unknown == 0 {
		why = append(why, errors.New("no client was left in doubt about its operation"))
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("the run is void: %w", errors.Join(why...))
}

// keepLogs copies what the peers said to the artifacts.
func (r *run) keepLogs() {
	for _, h := range r.Hosts() {
		if text, err := os.ReadFile(h.Log()); err == nil {
			os.WriteFile(filepath.Join(r.kept, h.Name+".log"), text, 0o644)
		}
	}
}
