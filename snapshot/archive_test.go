package snapshot

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWriteArchive(t *testing.T) {
	files := map[string]string{"tables.json": "{}", "things.parquet": strings.Repeat("x", 2*tarBlock), "empty.parquet": "", "nodes.parquet": strings.Repeat("y", 100_001)}
	order := []string{"tables.json", "things.parquet", "empty.parquet", "nodes.parquet"}
	at := time.Unix(1_700_000_000, 0)
	path := filepath.Join(t.TempDir(), "all.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	err = WriteArchive(f, at, order, func(name string, w io.Writer) error {
		for b := range strings.SplitSeq(files[name], "") { // in pieces
			if _, err := io.WriteString(w, b); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || len(data)%tarBlock != 0 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	var got []string
	in := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil || string(body) != files[h.Name] || !h.ModTime.Equal(at) || h.Mode != 0o600 {
			t.Errorf("%s: %d bytes, %v, of %v, mode %o", h.Name, len(body), err, h.ModTime, h.Mode)
		}
		got = append(got, h.Name)
	}
	if !slices.Equal(got, order) {
		t.Errorf("got %v", got)
	}
}

func TestWriteArchiveFails(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "all.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	broken := errors.New("broken on purpose")
	err = WriteArchive(f, time.Time{}, []string{"things.parquet"}, func(string, io.Writer) error { return broken })
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "archive things.parquet: ") {
		t.Errorf("got %v", err)
	}
	err = WriteArchive(f, time.Time{}, []string{strings.Repeat("n", 300)}, func(string, io.Writer) error { return nil })
	if err == nil {
		t.Error("a name that fits no header was taken")
	}
}
