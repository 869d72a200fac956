package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// history is marked snapshots, oldest first, by the times of their states. Behind a time, "torn" says
// that a file of it is bad, and "lost" that its manifest is.
func history(t *testing.T, lines ...string) []Found {
	t.Helper()
	var found []Found
	for i, line := range lines {
		text, harm, _ := strings.Cut(line, " ")
		at, err := time.Parse("2006-01-02T15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		f := Found{ID: line, Index: uint64(i + 1), Manifest: Manifest{Format: Format, Time: at}}
		switch harm {
		case "torn":
			f.Err = errors.New("torn")
		case "lost":
			f.Err, f.Manifest = errors.New("lost"), Manifest{}
		}
		found = append(found, f)
	}
	slices.Reverse(found)
	return found
}

// stay lists what is kept, oldest first.
func stay(r Retention, found []Found, now time.Time) []string {
	out := []string{}
	for i, kept := range r.kept(found, now) {
		if kept {
			out = append(out, found[i].ID)
		}
	}
	slices.Reverse(out)
	return out
}

func TestRetention(t *testing.T) {
	const now = "2026-03-02T12:00"
	for name, c := range map[string]struct {
		retention Retention
		now       string
		have      []string
		want      []string
	}{
		"none": {Retention{3, 3, 3}, now, []string{}, []string{}},
		"the newest": {Retention{Newest: 2}, now,
			[]string{"2026-03-02T09:00", "2026-03-02T10:00", "2026-03-02T11:00"},
			[]string{"2026-03-02T10:00", "2026-03-02T11:00"}},
		"nothing asked": {Retention{}, now, []string{"2026-03-02T10:00", "2026-03-02T11:00"}, []string{"2026-03-02T11:00"}},
		"nonsense":      {Retention{-1, -1, -1}, now, []string{"2026-03-02T10:00", "2026-03-02T11:00"}, []string{"2026-03-02T11:00"}},
		"the first of each day": {Retention{1, 3, 0}, now,
			[]string{"2026-02-27T00:00", "2026-02-28T00:00", "2026-02-28T12:00", "2026-03-01T03:00", "2026-03-01T04:00", "2026-03-02T01:00", "2026-03-02T02:00", "2026-03-02T11:00"},
			[]string{"2026-02-28T00:00", "2026-03-01T03:00", "2026-03-02T01:00", "2026-03-02T11:00"}},
		"the first of each month": {Retention{1, 0, 3}, now,
			[]string{"2025-12-31T23:59", "2026-01-01T00:00", "2026-01-02T00:00", "2026-02-15T00:00", "2026-02-16T00:00", "2026-03-02T11:00"},
			[]string{"2026-01-01T00:00", "2026-02-15T00:00", "2026-03-02T11:00"}},
		"over a year's end": {Retention{1, 0, 2}, "2026-01-10T00:00",
			[]string{"2025-11-30T00:00", "2025-12-05T00:00", "2025-12-06T00:00", "2026-01-02T00:00", "2026-01-09T00:00"},
			[]string{"2025-12-05T00:00", "2026-01-02T00:00", "2026-01-09T00:00"}},
		"a gap makes room for nothing older": {Retention{1, 2, 0}, now,
			[]string{"2026-02-20T00:00", "2026-02-28T00:00", "2026-03-02T11:00"},
			[]string{"2026-03-02T11:00"}},
		"all together": {Retention{2, 2, 2}, now,
			[]string{"2026-01-01T00:00", "2026-02-01T00:00", "2026-02-02T00:00", "2026-03-01T00:00", "2026-03-01T01:00", "2026-03-02T01:00", "2026-03-02T02:00", "2026-03-02T03:00"},
			[]string{"2026-02-01T00:00", "2026-03-01T00:00", "2026-03-02T01:00", "2026-03-02T02:00", "2026-03-02T03:00"}},
		"this host's clock ran ahead": {Retention{1, 3, 1}, "2099-01-01T00:00",
			[]string{"2026-02-28T00:00", "2026-03-01T00:00", "2026-03-02T11:00"},
			[]string{"2026-02-28T00:00", "2026-03-01T00:00", "2026-03-02T11:00"}},
		"this host's clock is behind": {Retention{1, 2, 0}, "2020-01-01T00:00",
			[]string{"2026-02-28T00:00", "2026-03-01T00:00", "2026-03-01T01:00", "2026-03-02T11:00"},
			[]string{"2026-02-28T00:00", "2026-03-01T00:00", "2026-03-02T11:00"}},
		"the cluster's clock ran ahead": {Retention{1, 3, 0}, now,
			[]string{"2026-03-01T00:00", "2026-03-02T00:00", "2099-01-01T00:00", "2099-01-01T00:00 again", "2099-01-01T00:00 last"},
			[]string{"2026-03-01T00:00", "2026-03-02T00:00", "2099-01-01T00:00", "2099-01-01T00:00 last"}},
		"time went back": {Retention{1, 2, 0}, now,
			[]string{"2026-03-02T05:00", "2026-03-01T05:00", "2026-03-02T04:00", "2026-03-01T04:00", "2026-03-02T03:00"},
			[]string{"2026-03-02T05:00", "2026-03-01T05:00", "2026-03-02T03:00"}},
		"a torn one takes nobody's place": {Retention{1, 2, 0}, now,
			[]string{"2026-03-01T00:00 torn", "2026-03-01T01:00", "2026-03-01T02:00", "2026-03-02T10:00", "2026-03-02T11:00 torn"},
			[]string{"2026-03-01T00:00 torn", "2026-03-01T01:00", "2026-03-02T10:00", "2026-03-02T11:00 torn"}},
		"a torn one goes when its time is over": {Retention{1, 1, 0}, now,
			[]string{"2026-03-01T00:00 torn", "2026-03-02T01:00", "2026-03-02T02:00 torn", "2026-03-02T10:00"},
			[]string{"2026-03-02T01:00", "2026-03-02T10:00"}},
		"one without a manifest goes when it is not among the newest": {Retention{1, 9, 9}, now,
			[]string{"2026-03-02T09:00 lost", "2026-03-02T10:00", "2026-03-02T11:00 lost"},
			[]string{"2026-03-02T10:00", "2026-03-02T11:00 lost"}},
		"none whole": {Retention{1, 0, 0}, now,
			[]string{"2026-03-02T09:00 lost", "2026-03-02T10:00 torn"},
			[]string{"2026-03-02T09:00 lost", "2026-03-02T10:00 torn"}},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse("2006-01-02T15:04", c.now)
			if err != nil {
				t.Fatal(err)
			}
			if got := stay(c.retention, history(t, c.have...), at); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestRetentionOverYears takes a snapshot every hour for more than a year and deletes as a peer would:
// what is left is what would be left if nothing had ever been deleted before.
//
//race:out
func TestRetentionOverYears(t *testing.T) {
	r := Retention{24, 30, 12}
	start := time.Date(2026, 1, 15, 10, 30, 0, 0, time.FixedZone("far", -11*60*60))
	var all, left []Found
	for hour := range 500 * 24 {
		at := start.Add(time.Duration(hour) * time.Hour)
		f := Found{ID: at.UTC().Format("2006-01-02T15:04"), Index: uint64(hour), Manifest: Manifest{Format: Format, Time: at}}
		if all, left = append(all, f), slices.Insert(left, 0, f); hour%24 == 0 || hour < 100 {
			left = slices.DeleteFunc(left, func(f Found) bool { return !slices.Contains(stay(r, left, at), f.ID) })
		}
	}
	now := all[len(all)-1].Manifest.Time
	slices.Reverse(all)
	got, want := stay(r, left, now), stay(r, all, now)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// 24 hours are of two days, 29 older days, and 10 months that begin before them: two months begin within.
	if len(want) < 24+28+10 || len(want) > 24+30+12 {
		t.Errorf("%d stay: %q", len(want), want)
	}
}

func TestMarksRetire(t *testing.T) {
	m := openMarks(t, t.TempDir())
	for index := range uint64(6) {
		mark(t, m, content(index+1, 1))
	}
	for _, id := range []string{"6", "2"} { // the newest is torn, and so is an old one
		if err := os.Remove(filepath.Join(m.Path(id), manifestName)); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := m.Retire(Retention{}, time.Now()) // the newest whole one stays whatever is asked
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"4", "3", "2", "1"}; !slices.Equal(gone, want) {
		t.Errorf("gone: got %v, want %v", gone, want)
	}
	list, err := m.List()
	if err != nil || len(list) != 2 || list[0].ID != "6" || list[1].ID != "5" || list[1].Err != nil {
		t.Errorf("left: got %+v, %v; want the torn 6 and the whole 5", list, err)
	}
}

func TestMarksRetireByDays(t *testing.T) {
	m := openMarks(t, t.TempDir())
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for index := range uint64(6) { // two a day
		c := content(index+1, 1)
		c.Time = day.Add(time.Duration(index) * 12 * time.Hour)
		mark(t, m, c)
	}
	gone, err := m.Retire(Retention{Newest: 1, Daily: 2}, day.AddDate(0, 0, 3))
	if want := []string{"4", "2", "1"}; err != nil || !slices.Equal(gone, want) {
		t.Errorf("gone: got %v, %v, want %v", gone, err, want)
	}
}

func TestMarksDelete(t *testing.T) {
	m := openMarks(t, t.TempDir())
	for index := range uint64(4) {
		mark(t, m, content(index+1, 1))
	}
	alter(t, filepath.Join(m.Path("4"), "things.parquet"), flip(9))
	for _, c := range []struct {
		id   string
		want error
	}{
		{"3", ErrNewest}, {"1", nil}, {"1", fs.ErrNotExist}, {"4", nil}, {"3", ErrNewest}, {"2", nil}, {"3", ErrNewest},
		{"", fs.ErrNotExist}, {"03", fs.ErrNotExist}, {"../index=000000000000003", fs.ErrNotExist},
	} {
		if err := m.Delete(c.id); !errors.Is(err, c.want) {
			t.Errorf("delete %q: got %v, want %v", c.id, err, c.want)
		}
	}
	if got, want := names(t, m.dir), []string{filepath.Base(m.Path("3"))}; !slices.Equal(got, want) {
		t.Errorf("left: got %v, want %v", got, want)
	}
	alter(t, filepath.Join(m.Path("3"), "things.parquet"), flip(9))
	if err := m.Delete("3"); err != nil {
		t.Errorf("the only one, which is not whole: got %v", err)
	}
	if err := m.Delete("3"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("snapshot %q", "3")) {
		t.Errorf("got %v", err)
	}
}
