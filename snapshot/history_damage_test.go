package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/orchd/orchd/api"
)

// missing is the range that reading a whole history ends at.
func missing(t testing.TB, h *History, after api.Position) Range {
	t.Helper()
	_, err := collect(h.Changes(after, h.End()))
	m, ok := errors.AsType[ErrMissing](err)
	if !ok {
		t.Fatalf("got %v, want something missing", err)
	}
	return m.Range
}

// TestHistoryNoticesEveryFlip alters each byte of a folder, and cuts its files in
// many places (TestReadChangesNoticesEveryFlip in all). What was altered is named and gone, the rest stays right.
//
//race:out
func TestHistoryNoticesEveryFlip(t *testing.T) {
	dir := t.TempDir()
	historyOf(t, dir, Range{1, 3}, Range{4, 4}).Close()
	for at, name := range names(t, dir) {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			altered := [][]byte{flip(i)(bytes.Clone(good))}
			if i%16 == 0 {
				altered = append(altered, good[:i])
			}
			for _, bad := range altered {
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				noticed(t, dir, at)
				if t.Failed() {
					t.Fatalf("byte %d of %s", i, name)
				}
				if err := errors.Join(os.Remove(path+damagedSuffix), os.WriteFile(path, good, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// noticed opens a folder in which one of the two files is damaged.
func noticed(t *testing.T, dir string, bad int) {
	t.Helper()
	var said strings.Builder
	h, err := openHistory(dir, slog.New(slog.NewTextHandler(&said, nil)), &testDisk{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	both := []Range{{1, 3}, {4, 4}}
	if got, want := ranges(h), slices.Delete(both, bad, bad+1); !slices.Equal(got, want) {
		t.Fatalf("got files %v, want %v", got, want)
	}
	if bad == 0 {
		expect(t, h, api.After(3), 4)
		if gaps := h.Gaps(); !slices.Equal(gaps, []Range{{1, 3}}) || missing(t, h, api.Position{}) != (Range{1, 3}) {
			t.Errorf("got gaps %v", gaps)
		}
	} else {
		expect(t, h, api.Position{}, 3)
		if h.End() != 3 {
			t.Errorf("got end %d, want 3, so that the log is asked for the rest", h.End())
		}
	}
	if name := changesName([]Range{{1, 3}, {4, 4}}[bad]); !strings.Contains(said.String(), name) {
		t.Errorf("%s is not named in %q", name, said.String())
	}
}

// TestHistoryNoticesLater: a file that is damaged while it is open, and one that
// disappears, become gaps when they are needed, and can be filled.
func TestHistoryNoticesLater(t *testing.T) {
	for what, harm := range map[string]func(path string) error{
		"flipped": func(path string) error {
			data, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, flip(len(data)/3)(data), 0o600)
			}
			return err
		},
		"deleted": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			h := historyOf(t, dir, Range{1, 10}, Range{11, 20}, Range{21, 30})
			expect(t, h, api.Position{}, 30)
			if err := harm(filepath.Join(dir, changesName(Range{11, 20}))); err != nil {
				t.Fatal(err)
			}
			if got := missing(t, h, api.Position{}); got != (Range{11, 20}) || !slices.Equal(h.Gaps(), []Range{{11, 20}}) {
				t.Errorf("got %v missing, gaps %v", got, h.Gaps())
			}
			for _, part := range []Range{{9, 15}, {14, 25}} {
				if err := h.Import(part, given(truths(part))); err != nil {
					t.Fatal(err)
				}
			}
			expect(t, h, api.Position{}, 30)
			h = openTestHistory(t, dir)
			expect(t, h, api.Position{}, 30)
			if want := []Range{{1, 10}, {11, 15}, {16, 20}, {21, 30}}; !slices.Equal(ranges(h), want) || len(names(t, dir)) != len(want) {
				t.Errorf("got files %v, folder %v", ranges(h), names(t, dir))
			}
		})
	}
}

// TestHistoryNoticesWhatRotsUnseen: a medium that goes bad under a file moves none of its times.
// Who meets that while reading sets the file aside, so that others can give what it covers.
func TestHistoryNoticesWhatRotsUnseen(t *testing.T) {
	dir := t.TempDir()
	h := historyOf(t, dir, Range{1, 10}, Range{11, 20}, Range{21, 30})
	expect(t, h, api.Position{}, 30)
	path := filepath.Join(dir, changesName(Range{11, 20}))
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, slices.Concat(data[:4], bytes.Repeat([]byte{0xff}, len(data)/2), data[4+len(data)/2:]), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	h.files[1].whole, _ = stateOf(info)
	if got := missing(t, h, api.Position{}); got != (Range{11, 20}) || !slices.Equal(h.Gaps(), []Range{{11, 20}}) {
		t.Errorf("got %v missing, gaps %v", got, h.Gaps())
	}
	if err := h.Import(Range{11, 20}, given(truths(Range{11, 20}))); err != nil {
		t.Fatal(err)
	}
	expect(t, h, api.Position{}, 30)
}

// TestHistoryRemembersWhatWasDamaged: the oldest file is missed also after a start.
func TestHistoryRemembersWhatWasDamaged(t *testing.T) {
	dir := t.TempDir()
	h := historyOf(t, dir, Range{1, 10}, Range{11, 20}, Range{21, 30})
	alter(t, filepath.Join(dir, changesName(Range{1, 10})), flip(50))
	if damaged, err := h.Verify(t.Context()); err != nil || !slices.Equal(damaged, []Range{{1, 10}}) {
		t.Fatalf("got %v, %v", damaged, err)
	}
	h = openTestHistory(t, dir)
	if !slices.Equal(h.Gaps(), []Range{{1, 10}}) {
		t.Errorf("got gaps %v", h.Gaps())
	}
	if gone, err := h.Retire(timeOf(21)); err != nil || !slices.Equal(gone, []Range{{11, 20}}) {
		t.Fatalf("got %v, %v", gone, err)
	}
	if len(h.Gaps()) > 0 || len(names(t, dir)) != 1 {
		t.Errorf("got gaps %v, folder %v after what came before was deleted", h.Gaps(), names(t, dir))
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	h := historyOf(t, t.TempDir(), Range{1, 10})
	if damaged, err := h.Verify(t.Context()); err != nil || damaged != nil {
		t.Errorf("got %v, %v", damaged, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestDamageIsNotWhatTheSystemLacks: a process out of descriptors must not throw its history away.
func TestDamageIsNotWhatTheSystemLacks(t *testing.T) {
	for err, want := range map[error]bool{
		errNotWhole: true, io.ErrUnexpectedEOF: true, errFooter: true, &os.PathError{Op: "read", Err: syscall.EIO}: true,
		&os.PathError{Op: "open", Err: syscall.EMFILE}: false, &os.PathError{Op: "read", Err: syscall.ENOMEM}: false,
	} {
		if _, got := errors.AsType[errDamaged](damage(err)); got != want {
			t.Errorf("%v: got %v", err, got)
		}
	}
}

// TestOpenHistorySettlesOverlaps: the wider wins if it is whole.
func TestOpenHistorySettlesOverlaps(t *testing.T) {
	file := func(t *testing.T, to string, r Range) {
		dir := t.TempDir()
		historyOf(t, dir, r).Close()
		if err := os.Rename(filepath.Join(dir, changesName(r)), filepath.Join(to, changesName(r))); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		files []Range
		bad   Range
		want  []Range
	}{
		"merge whole":       {[]Range{{1, 9}, {1, 3}, {4, 6}, {7, 9}}, Range{}, []Range{{1, 9}}},
		"some deleted":      {[]Range{{1, 9}, {7, 9}}, Range{}, []Range{{1, 9}}},
		"merge torn":        {[]Range{{1, 9}, {1, 3}, {4, 6}, {7, 9}}, Range{1, 9}, []Range{{1, 3}, {4, 6}, {7, 9}}},
		"part torn":         {[]Range{{1, 9}, {1, 3}, {4, 6}, {7, 9}}, Range{4, 6}, []Range{{1, 9}}},
		"next to others":    {[]Range{{1, 3}, {4, 9}, {4, 6}, {7, 9}, {10, 12}}, Range{}, []Range{{1, 3}, {4, 9}, {10, 12}}},
		"later is wider":    {[]Range{{1, 5}, {4, 12}}, Range{}, []Range{{4, 12}}},
		"earlier is wider":  {[]Range{{1, 9}, {8, 12}}, Range{}, []Range{{1, 9}}},
		"wider later, torn": {[]Range{{1, 5}, {4, 12}}, Range{4, 12}, []Range{{1, 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, r := range c.files {
				file(t, dir, r)
			}
			if err := os.WriteFile(filepath.Join(dir, ".changes-1"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if c.bad.From > 0 {
				alter(t, filepath.Join(dir, changesName(c.bad)), flip(30))
			}
			h := openTestHistory(t, dir)
			if !slices.Equal(ranges(h), c.want) {
				t.Fatalf("got %v, want %v", ranges(h), c.want)
			}
			for _, r := range c.want {
				expect(t, h, api.After(r.From-1), r.To)
			}
			for _, name := range names(t, dir) {
				if _, ok := changesRange(strings.TrimSuffix(name, damagedSuffix)); !ok {
					t.Errorf("%s stays", name)
				}
			}
		})
	}
}

// TestOpenHistoryForgetsWhatWasFilled: a crash right behind an import leaves the damaged file beside the new one.
func TestOpenHistoryForgetsWhatWasFilled(t *testing.T) {
	dir := t.TempDir()
	historyOf(t, dir, Range{1, 10}, Range{11, 20}).Close()
	for _, r := range []Range{{1, 10}, {15, 18}, {15, 25}} {
		if err := os.WriteFile(filepath.Join(dir, changesName(r)+damagedSuffix), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := openTestHistory(t, dir)
	if got := names(t, dir); len(got) != 3 || got[2] != changesName(Range{15, 25})+damagedSuffix || len(h.Gaps()) > 0 {
		t.Errorf("got folder %v, gaps %v", got, h.Gaps())
	}
}
